import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { DeviceId, KeyId } from '@drover/shared/ids';
import { Authorities } from '../../src/certificate-authority/index.js';
import { deviceCertificates, pruneCertificates } from '../../src/devices/index.js';
import { startFixture, type ControlPlaneFixture } from '../control-plane-fixture.js';
import { kindsOfQueries } from '../database/kinds-of-queries.js';
import { createWorld } from '../rollouts/world.js';

const DAY_MS = 86_400_000;
let fixture: ControlPlaneFixture;
beforeEach(async () => {
  fixture = await startFixture();
});
afterEach(() => fixture.close());

const issued = (serial: string, device: string, issuedDaysAgo: number, isUsed = true) =>
  fixture.db
    .insertInto('device_certificates')
    .values({
      serial,
      device_id: device as DeviceId,
      key_id: 'key' as KeyId,
      authority: 1,
      issued_at: fixture.clock.at - issuedDaysAgo * DAY_MS,
      expires_at: fixture.clock.at - (issuedDaysAgo - 90) * DAY_MS,
      first_used_at: isUsed ? fixture.clock.at : null,
      revoked_at: null,
    })
    .execute();

it('when certificates ran out long ago, they are forgotten, but for the newest that each device has come with', async () => {
  await issued('replaced', 'here', 200);
  await issued('lately-expired', 'here', 100);
  await issued('in-force', 'here', 1);
  await issued('the-one-it-has', 'away-for-a-year', 400);
  await issued('never-arrived', 'away-for-a-year', 300, false);
  expect(await pruneCertificates(fixture.db, fixture.clock.at)).toBe(1);
  const left = await fixture.db.selectFrom('device_certificates').select('serial').orderBy('serial').execute();
  expect(left.map(({ serial }) => serial)).toEqual(['in-force', 'lately-expired', 'never-arrived', 'the-one-it-has']);
});

it('when a device comes with its certificate, the first time is noted, and after that nothing is written', async () => {
  const world = await createWorld();
  const folder = mkdtempSync(join(tmpdir(), 'drover-certificates-'));
  try {
    const { id } = await world.device('alpha');
    const at = world.clock.nowMs;
    const device = await world.db.selectFrom('devices').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
    const certificates = deviceCertificates(await Authorities.open(folder, () => at), DAY_MS);
    const publicKey = { publicKey: device.public_key, keyId: device.key_id };
    const { certificate: pem } = await certificates.issue(world.db, { deviceId: id, publicKey, at });
    const certificate = new X509Certificate(pem);
    const queries = kindsOfQueries(world.db);
    const come = async (atMs: number): Promise<string[]> => {
      expect(await certificates.holderOf(queries.db, certificate, atMs)).toEqual({ kind: 'device', id });
      return queries.kinds.splice(0);
    };
    const noted = async () =>
      (await world.db.selectFrom('device_certificates').select('first_used_at').execute()).map(
        (row) => row.first_used_at,
      );

    expect(await come(at + 1)).toEqual(['SelectQueryNode', 'UpdateQueryNode']);
    expect(await come(at + 2)).toEqual(['SelectQueryNode']);
    expect(await noted()).toEqual([at + 1]);
    // Issued in a time that a restored database does not know.
    await world.db.deleteFrom('device_certificates').execute();
    expect(await come(at + 3)).toEqual(['SelectQueryNode', 'InsertQueryNode']);
    expect(await come(at + 4)).toEqual(['SelectQueryNode']);
    expect(await noted()).toEqual([at + 3]);
  } finally {
    await world.close();
    rmSync(folder, { recursive: true });
  }
});
