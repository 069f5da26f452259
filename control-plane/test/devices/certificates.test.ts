import { afterEach, beforeEach, expect, it } from 'vitest';
import type { DeviceId, KeyId } from '@drover/shared/ids';
import { pruneCertificates } from '../../src/devices/index.js';
import { startFixture, type ControlPlaneFixture } from '../control-plane-fixture.js';

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
