import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DeviceId } from '@drover/shared/ids';
import { signReadmission, type EnrolmentGrant, type ReadmissionRequest } from '@drover/shared/protocol';
import { createKeyPair, occasionalSigner, publicKeyOf, type KeyPair } from '@drover/shared/trust';
import { deviceDirectory } from '../../src/devices/index.js';
import { audit, hashSecret } from '../../src/governance/index.js';
import { beginRecovery } from '../../src/recovery/index.js';
import { enrolmentOf, errorCode, post, startFixture, type ControlPlaneFixture } from '../control-plane-fixture.js';

const DAY_MS = 86_400_000;
const ID = 'cam-01';
let fixture: ControlPlaneFixture;
let key: KeyPair;
let grant: EnrolmentGrant;

/** A device that enrolled in a time which the database then lost: a backup from before it was restored a day later. */
beforeEach(async () => {
  fixture = await startFixture();
  key = createKeyPair();
  grant = await enrolled(ID, key);
  await forget(ID);
});
afterEach(() => fixture.close());

async function enrolled(id: string, by: KeyPair): Promise<EnrolmentGrant> {
  const made = await post(fixture, 'operator', '/claim-tokens', { attributes: { site: 'lab' }, ttlMs: 60_000 });
  const { claimToken } = made.json() as { claimToken: string };
  const answer = await fixture.app.inject({
    method: 'POST',
    url: '/api/v1/enrolments',
    payload: enrolmentOf(by, claimToken, id),
  });
  return answer.json<EnrolmentGrant>();
}
async function forget(id: string): Promise<void> {
  await fixture.db
    .deleteFrom('device_attributes')
    .where('device_id', '=', id as DeviceId)
    .execute();
  await fixture.db
    .deleteFrom('devices')
    .where('id', '=', id as DeviceId)
    .execute();
  await fixture.db
    .deleteFrom('device_certificates')
    .where('device_id', '=', id as DeviceId)
    .execute();
}
const restoreBackupOf = (takenAt: number) =>
  beginRecovery(fixture.db, { reason: 'test', lostFrom: takenAt, begunAt: fixture.clock.at + DAY_MS });
const ask = (change: Partial<ReadmissionRequest> = {}, by = key) => {
  const request: ReadmissionRequest = {
    protocol: 1,
    kind: 'readmission',
    deviceId: ID as DeviceId,
    publicKey: publicKeyOf(by),
    certificate: grant.identity.certificate,
    credentialHash: hashSecret(grant.credential ?? ''),
    hardwareClass: 'x86-cpu',
    attributes: { site: 'lab' },
    agentVersion: '0.1.0',
    at: 0,
    ...change,
  };
  const payload = JSON.parse(signReadmission(request, occasionalSigner(by)).toString('utf8')) as object;
  return fixture.app.inject({ method: 'POST', url: '/api/v1/readmissions', payload });
};
const directory = () => deviceDirectory(fixture.db);

describe('when a device enrolled after the backup that was restored', () => {
  beforeEach(() => restoreBackupOf(fixture.clock.at - 500));

  it('is let in by its certificate, with a new one, and its credential goes on to hold', async () => {
    const answer = await ask();
    expect(answer.statusCode, answer.body).toBe(201);
    expect(answer.json()).toMatchObject({ deviceId: ID, certificate: expect.stringContaining('BEGIN') as string });
    expect(await directory().get(ID as DeviceId)).toMatchObject({
      hardwareClass: 'x86-cpu',
      attributes: { site: 'lab' },
    });
    expect(await directory().authenticate(ID, grant.credential ?? '')).toEqual({ id: ID });
    const entries = (await audit(fixture.db).list()).filter(({ action }) => action === 'device.readmit');
    expect(entries).toMatchObject([{ subject: ID, detail: { keyId: key.keyId } }]);
  });

  it('may ask again, which changes nothing but its certificate', async () => {
    await ask();
    const again = await ask({ attributes: { site: 'elsewhere' } });
    expect(again.statusCode).toBe(201);
    expect((await directory().get(ID as DeviceId)).attributes).toEqual({ site: 'lab' });
  });

  it('is let in also after its certificate ran out', async () => {
    fixture.clock.at += 200 * DAY_MS;
    expect((await ask()).statusCode).toBe(201);
  });

  it('is not let in with the certificate of another, nor under another name or key', async () => {
    const other = await enrolled('cam-02', createKeyPair());
    const thief = createKeyPair();
    for (const refused of [
      await ask({ certificate: other.identity.certificate }),
      await ask({ deviceId: 'cam-03' as DeviceId }),
      await ask({}, thief),
      await ask({ certificate: grant.identity.authorities[0] ?? '' }),
    ])
      expect([refused.statusCode, errorCode(refused)]).toEqual([403, 'READMISSION_REFUSED']);
    const forged = await ask({ publicKey: publicKeyOf(key) }, thief);
    expect(errorCode(forged)).toBe('SIGNATURE_BELOW_THRESHOLD');
  });

  it('takes the place of no other device, but of a revoked one', async () => {
    const successor = createKeyPair();
    await enrolled(ID, successor);
    expect(errorCode(await ask())).toBe('DEVICE_ID_TAKEN');
    await post(fixture, 'operator', `/devices/${ID}/revocation`, { reason: 'stolen' });
    expect((await ask()).statusCode).toBe(201);
    await post(fixture, 'operator', `/devices/${ID}/revocation`, { reason: 'stolen' });
    expect(errorCode(await ask())).toBe('DEVICE_REVOKED');
  });
});

describe('when its certificate is from a time of which everything is known', () => {
  it.each([
    ['nothing was ever restored', () => Promise.resolve()],
    ['it was issued before the backup', () => restoreBackupOf(fixture.clock.at + 5000)],
  ])('because %s, it has to enrol', async (_, begin) => {
    await begin();
    const answer = await ask();
    expect([answer.statusCode, errorCode(answer)]).toEqual([403, 'READMISSION_REFUSED']);
    expect(answer.body).toContain('drover device token create');
  });
});
