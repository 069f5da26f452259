import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keepTrustFiles } from '../../src/broker/index.js';
import { createSecureWorld } from '../devices/secure-world.js';

let parent: string;
let folder: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'drover-trust-'));
  folder = join(parent, 'for', 'broker');
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

const refusal = expect.objectContaining({ code: 'BROKER_TRUST_UNWRITABLE' }) as Error;

describe('when a broker beside the control plane reads whom to believe', () => {
  const keep = (trust: { authorities: string; revocationLists: string }) =>
    keepTrustFiles({ folder, trust: () => Promise.resolve(trust), onError: () => undefined });

  it('gets the files, and nothing else lies beside them', async () => {
    const trust = { authorities: 'one', revocationLists: 'none' };
    const files = await keep(trust);
    trust.revocationLists = 'some';
    await files.write();
    expect(readdirSync(folder).sort()).toEqual(['ca.crt', 'revoked.crl']);
    expect(readFileSync(join(folder, 'ca.crt'), 'utf8')).toBe('one');
    expect(readFileSync(join(folder, 'revoked.crl'), 'utf8')).toBe('some');
    await files.close();
  });

  it('and they cannot be written, it is told so, and the next attempt is not held up', async () => {
    mkdirSync(join(folder, 'ca.crt'), { recursive: true });
    await expect(keep({ authorities: 'one', revocationLists: 'none' })).rejects.toEqual(refusal);
    rmSync(join(folder, 'ca.crt'), { recursive: true });
    const files = await keep({ authorities: 'one', revocationLists: 'none' });
    rmSync(join(folder, 'revoked.crl'));
    mkdirSync(join(folder, 'revoked.crl'));
    await expect(files.write()).rejects.toEqual(refusal);
    expect(existsSync(join(folder, 'revoked.crl.new'))).toBe(false);
    rmSync(join(folder, 'revoked.crl'), { recursive: true });
    await files.write();
    expect(readFileSync(join(folder, 'revoked.crl'), 'utf8')).toBe('none');
    await files.close();
  });

  it.each([
    { of: 'a revocation', path: '/devices/one/revocation', body: { reason: 'test' } },
    { of: 'another authority', path: '/certificate-authorities', body: {} },
  ])('and is not told of $of, connections that this concerns end all the same', async ({ path, body }) => {
    const world = await createSecureWorld({ DROVER_BROKER_TRUST: folder });
    try {
      const client = await world.asDevice(await world.enrol('one'));
      const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
      rmSync(folder, { recursive: true });
      writeFileSync(folder, 'no folder');
      const answer = await world.call(path, { body, token: true });
      expect(answer).toMatchObject({ status: 503, body: { error: { code: 'BROKER_TRUST_UNWRITABLE' } } });
      await closed;
    } finally {
      await world.close();
    }
  });
});
