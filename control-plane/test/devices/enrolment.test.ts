import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DeviceId } from '@drover/shared/ids';
import { createKeyPair, publicKeyOf } from '@drover/shared/trust';
import { deviceDirectory } from '../../src/devices/index.js';
import {
  enrolmentOf,
  errorCode,
  post,
  startFixture,
  type Answer,
  type ControlPlaneFixture,
} from '../control-plane-fixture.js';

let fixture: ControlPlaneFixture;
beforeEach(async () => {
  fixture = await startFixture();
});
afterEach(() => fixture.close());

async function claimToken(changes: { uses?: number; attributes?: Record<string, string> } = {}): Promise<string> {
  const answer = await post(fixture, 'operator', '/claim-tokens', {
    attributes: { site: 'lab' },
    ttlMs: 60_000,
    ...changes,
  });
  expect(answer.statusCode, answer.body).toBe(201);
  return (answer.json() as { claimToken: string }).claimToken;
}
const enrol = async (envelope: object): Promise<Answer> =>
  fixture.app.inject({ method: 'POST', url: '/api/v1/enrolments', payload: envelope });
const directory = () => deviceDirectory(fixture.db);

describe('when a device enrols', () => {
  it('gets a credential that holds for itself only', async () => {
    const key = createKeyPair();
    const answer = await enrol(enrolmentOf(key, await claimToken(), 'cam-01'));
    expect(answer.statusCode, answer.body).toBe(201);
    const grant = answer.json() as { credential: string; deviceId: string; epoch: number; brokerUrl: string };
    expect(grant).toMatchObject({ protocol: 1, deviceId: 'cam-01', epoch: 1, brokerUrl: 'mqtt://localhost:1883' });
    expect(await directory().authenticate('cam-01', grant.credential)).toEqual({ id: 'cam-01' });
    expect(await directory().authenticate('cam-01', `${grant.credential}x`)).toBeUndefined();
    expect(await directory().authenticate('cam-02', grant.credential)).toBeUndefined();
    expect(await directory().publicKeyOf('cam-01' as DeviceId)).toEqual({ threshold: 1, keys: [publicKeyOf(key)] });
  });

  it('takes the attributes of the token over those that the device claims', async () => {
    await enrol(enrolmentOf(createKeyPair(), await claimToken(), 'cam-01'));
    const device = await fixture.app.inject({ url: '/api/v1/devices/cam-01', headers: await fixture.token('viewer') });
    expect(device.json()).toMatchObject({ id: 'cam-01', attributes: { colour: 'red', site: 'lab' }, connected: false });
  });

  it('stores neither token nor credential in the clear', async () => {
    const token = await claimToken();
    const { credential } = (await enrol(enrolmentOf(createKeyPair(), token, 'cam-01'))).json() as {
      credential: string;
    };
    const stored = JSON.stringify([
      await fixture.db.selectFrom('claim_tokens').selectAll().execute(),
      await fixture.db.selectFrom('devices').selectAll().execute(),
      await fixture.db.selectFrom('audit').selectAll().execute(),
    ]);
    expect(stored).not.toContain(token);
    expect(stored).not.toContain(credential);
  });

  it('may enrol again with its key and a fresh token, which ends the old credential', async () => {
    const key = createKeyPair();
    const first = (await enrol(enrolmentOf(key, await claimToken(), 'cam-01'))).json() as { credential: string };
    const second = (
      await enrol(enrolmentOf(key, await claimToken({ attributes: { site: 'roof' } }), 'cam-01'))
    ).json() as { credential: string };
    expect(await directory().authenticate('cam-01', first.credential)).toBeUndefined();
    expect(await directory().authenticate('cam-01', second.credential)).toBeDefined();
    expect((await directory().get('cam-01' as DeviceId)).attributes).toEqual({ colour: 'red', site: 'roof' });
  });
});

describe('when an enrolment must not be taken', () => {
  it('refuses a token that is used up, and spends none on a refusal', async () => {
    const token = await claimToken({ uses: 2 });
    const key = createKeyPair();
    const envelope = enrolmentOf(key, token, 'cam-01');
    expect((await enrol(envelope)).statusCode).toBe(201);
    // The same envelope once more: recorded and replayed by somebody else.
    const replayed = await enrol(envelope);
    expect([replayed.statusCode, errorCode(replayed)]).toEqual([403, 'CLAIM_TOKEN_SPENT']);
    const taken = await enrol(enrolmentOf(createKeyPair(), await claimToken(), 'cam-01'));
    expect([taken.statusCode, errorCode(taken)]).toEqual([409, 'DEVICE_ID_TAKEN']);
    expect((await enrol(enrolmentOf(createKeyPair(), token, 'cam-02'))).statusCode).toBe(201);
    expect(errorCode(await enrol(enrolmentOf(createKeyPair(), token, 'cam-03')))).toBe('CLAIM_TOKEN_SPENT');
  });

  it('refuses a token after its time', async () => {
    const token = await claimToken();
    fixture.clock.at += 59_999;
    expect((await enrol(enrolmentOf(createKeyPair(), token, 'cam-01'))).statusCode).toBe(201);
    const late = await claimToken();
    fixture.clock.at += 60_000;
    const answer = await enrol(enrolmentOf(createKeyPair(), late, 'cam-02'));
    expect([answer.statusCode, errorCode(answer)]).toEqual([403, 'CLAIM_TOKEN_EXPIRED']);
  });

  it('refuses an unknown token', async () => {
    expect(errorCode(await enrol(enrolmentOf(createKeyPair(), 'claim_made-up-by-somebody', 'cam-01')))).toBe(
      'CLAIM_TOKEN_UNKNOWN',
    );
  });

  it('refuses a device that does not hold the key that it presents', async () => {
    const answer = await enrol(
      enrolmentOf(createKeyPair(), await claimToken(), 'cam-01', { publicKey: publicKeyOf(createKeyPair()) }),
    );
    expect([answer.statusCode, errorCode(answer)]).toEqual([422, 'SIGNATURE_BELOW_THRESHOLD']);
    const good = enrolmentOf(createKeyPair(), await claimToken(), 'cam-01');
    const changed = Buffer.from(
      Buffer.from(good.payload, 'base64').toString('utf8').replace('cam-01', 'cam-99'),
    ).toString('base64');
    expect(errorCode(await enrol({ ...good, payload: changed }))).toBe('SIGNATURE_INVALID');
    expect(await directory().find({ all: true })).toEqual([]);
  });
});

describe('when devices are selected', () => {
  beforeEach(async () => {
    for (const [id, site] of [
      ['cam-01', 'lab'],
      ['cam-02', 'roof'],
      ['cam-03', 'lab'],
    ] as const) {
      await enrol(enrolmentOf(createKeyPair(), await claimToken({ attributes: { site } }), id));
    }
  });

  it('meets every condition that is named', async () => {
    const ids = async (selector: Parameters<ReturnType<typeof directory>['find']>[0]) =>
      (await directory().find(selector)).map(({ id }) => id);
    expect(await ids({ all: true })).toEqual(['cam-01', 'cam-02', 'cam-03']);
    expect(await ids({ attributes: { site: 'lab' } })).toEqual(['cam-01', 'cam-03']);
    expect(await ids({ attributes: { site: 'lab', colour: 'blue' } })).toEqual([]);
    expect(await ids({ devices: ['cam-02', 'cam-03'] as DeviceId[], attributes: { site: 'lab' } })).toEqual(['cam-03']);
    await expect(directory().find({})).rejects.toMatchObject({ code: 'SELECTOR_EMPTY' });
  });

  it('answers over HTTP in pages', async () => {
    const list = async (query: string) => {
      const answer = await fixture.app.inject({
        url: `/api/v1/devices${query}`,
        headers: await fixture.token('viewer'),
      });
      const { items, next } = answer.json<{ items: { id: string }[]; next?: string }>();
      return { ids: items.map(({ id }) => id), next };
    };
    expect(await list('?attribute=site%3Dlab')).toEqual({ ids: ['cam-01', 'cam-03'], next: undefined });
    expect(await list('?device=cam-02&device=cam-03')).toEqual({ ids: ['cam-02', 'cam-03'], next: undefined });
    expect(await list('?limit=2')).toEqual({ ids: ['cam-01', 'cam-02'], next: 'cam-02' });
    expect(await list('?limit=2&after=cam-02')).toEqual({ ids: ['cam-03'], next: undefined });
  });

  it('counts connections, and forgets them at a start', async () => {
    await directory().touch('cam-02' as DeviceId, { connected: true, lastSeenAt: 7 });
    expect(await directory().countByConnection()).toEqual({ connected: 1, disconnected: 2 });
    expect(await directory().get('cam-02' as DeviceId)).toMatchObject({ connected: true, lastSeenAt: 7 });
    const metrics = await fixture.app.inject({ url: '/metrics', headers: await fixture.token('viewer') });
    expect(metrics.body).toContain('drover_devices{connected="true"} 1');
    await directory().forgetConnections();
    expect(await directory().countByConnection()).toEqual({ connected: 0, disconnected: 3 });
  });
});
