import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../../src/fleet/wait.js';
import { createPlant, type Plant } from './plant.js';

const signal = new AbortController().signal;

let plant: Plant;
beforeAll(async () => {
  plant = await createPlant();
});
afterAll(() => plant.close());

const identityOf = (id: string) =>
  (
    JSON.parse(readFileSync(join(plant.folder, id, 'identity.json'), 'utf8')) as {
      grant: { identity: { certificate: string; authorities: string[] } };
    }
  ).grant.identity;
/** The number in the name of the authority that issued its certificate. */
const issuerOf = (id: string): string =>
  /authority (\d+)-/.exec(new X509Certificate(identityOf(id).certificate).issuer)?.[1] ?? '';
const waitFor = (what: string, holds: () => Promise<boolean> | boolean) =>
  until(async () => ((await holds()) ? true : undefined), {
    what,
    timeoutMs: 25_000,
    signal,
    state: () => plant.log.slice(-20).join('\n'),
  });
const connected = (id: string) => waitFor(`${id} to be connected`, async () => (await plant.shown(id)).connected);
const change = (path: string) => plant.controlPlane.operator.send('POST', `/api/v1/certificate-authorities${path}`, {});

describe('when the authority of the control plane is replaced', () => {
  it('nobody visits a device: one that is there learns it at once, one that was away when it comes back', async () => {
    await plant.device('there');
    const away = await plant.device('away');
    await connected('there');
    await connected('away');
    await away.close();

    await change('');
    await waitFor('the new certificate', () => issuerOf('there') === '2');
    expect(identityOf('there').authorities).toHaveLength(2);
    await connected('there');
    await change('/1/retirement');
    await waitFor('the end of the old authority', () => identityOf('there').authorities.length === 1);
    await connected('there');
    expect(issuerOf('away')).toBe('1');

    const back = await plant.restart('away');
    await connected('away');
    expect(issuerOf('away')).toBe('2');
    expect(identityOf('away').authorities).toEqual(identityOf('there').authorities);
    expect(back.status().connected).toBe(true);
  });
});
