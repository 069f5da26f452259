import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceId, KeyId } from '@drover/shared/ids';
import type { BundleOrders } from '../../src/bundles/index.js';
import { releasePath, renew } from '@drover/shared/trust/ceremony';
import { metadataFiles } from '../../src/release-repository/index.js';
import {
  beginRepository,
  errorCode,
  makeRelease,
  MODEL,
  post,
  publication,
  publish,
  signedBy,
  startFixture,
  upload,
  type ControlPlaneFixture,
} from '../control-plane-fixture.js';

const DAY_MS = 86_400_000;
let fixture: ControlPlaneFixture;
beforeEach(async () => {
  fixture = await startFixture();
  await beginRepository(fixture);
  const release = makeRelease('1.0.0');
  for (const bytes of release.files) await upload(fixture, bytes);
  expect((await publish(fixture, release)).statusCode).toBe(201);
});
afterEach(() => fixture.close());

const ask = (more: object = {}) =>
  post(fixture, 'operator', '/bundle-orders', {
    model: MODEL,
    version: '1.0.0',
    selector: { attributes: { site: 'mine' } },
    ttlMs: DAY_MS,
    ...more,
  });

/** Revoked, so that none of them has to be asked about further. */
async function enrol(ids: readonly string[]): Promise<void> {
  await fixture.db
    .insertInto('devices')
    .values(
      ids.map((id) => ({
        id: DeviceId(id),
        public_key: `public ${id}`,
        key_id: KeyId(createHash('sha256').update(id).digest('hex')),
        credential_hash: id,
        hardware_class: 'generic',
        agent_version: 'test',
        enrolled_at: 0,
        last_seen_at: null,
        connected: 0 as const,
        revoked_at: 1,
        revoked_by: 'test',
        revocation_reason: 'stolen',
      })),
    )
    .execute();
  await fixture.db
    .insertInto('device_attributes')
    .values(ids.map((id) => ({ device_id: DeviceId(id), name: 'site', value: 'mine' })))
    .execute();
}

describe('when orders are asked for by hand', () => {
  it('tells of every device, however many there are, a page at a time', async () => {
    const ids = Array.from({ length: 1001 }, (_, index) => `pump-${String(index).padStart(4, '0')}`);
    await enrol(ids);
    const first = (await ask()).json() as BundleOrders;
    expect(first.withheld).toHaveLength(1000);
    const second = (await ask({ after: first.next })).json() as BundleOrders;
    expect([...first.withheld, ...second.withheld].map(({ deviceId }) => deviceId)).toEqual(ids);
    expect(second.next).toBeUndefined();
  });

  it('gives none of a release that its publishers withdrew', async () => {
    const role = (await metadataFiles(fixture.db).current())?.models.get(MODEL)?.signed;
    if (!role) throw new Error('the release is not listed');
    expect(Object.keys(role.targets)).toEqual([releasePath(MODEL, makeRelease('1.0.0').manifest.version)]);
    const withdrawn = { ...renew(role, fixture.clock.at + DAY_MS), targets: {} };
    expect((await publication(fixture, [signedBy(MODEL, withdrawn, fixture.publisher)])).statusCode).toBe(201);
    const answer = await ask();
    expect([answer.statusCode, errorCode(answer)]).toEqual([409, 'RELEASE_WITHDRAWN']);
  });
});
