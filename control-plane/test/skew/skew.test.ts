import { readFileSync } from 'node:fs';
import Schema from 'typebox/schema';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceId, ModelName, newLabelRequestId, newRolloutId, Version, type Digest } from '@drover/shared/ids';
import { parametersOf } from '@drover/shared/manifest';
import { reportsTopic } from '@drover/shared/protocol';
import { bulkSigner, createKeyPair, decodeEnvelope, encodeEnvelope } from '@drover/shared/trust';
import { agentAge, SERVED_OLDER_MINORS } from '../../src/devices/agent-age.js';
import { deviceDirectory } from '../../src/devices/index.js';
import { takesKind } from '../../src/devices/taken-kinds.js';
import { createDirector } from '../../src/director/index.js';
import { storeOrder } from '../../src/director/order.js';
import { hashSecret } from '../../src/governance/index.js';
import { createIngest, listReports } from '../../src/telemetry/index.js';
import { startFixture, type ControlPlaneFixture } from '../control-plane-fixture.js';
import { CLAIM_TOKEN, recordings, type Recording } from './recording.js';

const { version: OWN } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};
const [major = 0, minor = 0] = OWN.split('.').map(Number);
const RECORDED = recordings();
const served = RECORDED.filter((recording) => ['current', 'outdated'].includes(agentAge(`${recording.minor}.0`, OWN)));

it('when this version was made, all minor versions that it promises to serve had been recorded', () => {
  const promised = Array.from({ length: SERVED_OLDER_MINORS + 1 }, (_, older) => minor - older).filter(
    // 0.1 is the first.
    (each) => each >= (major === 0 ? 1 : 0),
  );
  expect(served.map((recording) => recording.minor).sort()).toEqual(promised.map((each) => `${major}.${each}`).sort());
});

describe.each(served)('when an agent of version $minor', (recording: Recording) => {
  let fixture: ControlPlaneFixture;
  const device = DeviceId('recorded');

  beforeEach(async () => {
    fixture = await startFixture();
    await fixture.db
      .insertInto('claim_tokens')
      .values({
        token_hash: hashSecret(CLAIM_TOKEN),
        attributes: '{}',
        expires_at: fixture.clock.at + 1,
        uses_left: 1,
        created_at: 0,
        created_by: 'test',
      })
      .execute();
  });
  afterEach(() => fixture.close());

  const enrol = () => fixture.app.inject({ method: 'POST', url: '/api/v1/enrolments', payload: recording.enrolment });

  it('enrols, it gets a grant that it can read', async () => {
    const answer = await enrol();
    expect(answer.statusCode).toBe(201);
    expect(Schema.Errors(recording.understands.grant, answer.json())).toEqual([true, []]);
  });

  it('reports, it is known to take no parameters', async () => {
    await enrol();
    const { db, clock } = fixture;
    const ingest = createIngest({ db, devices: deviceDirectory(db), now: () => clock.at });
    for (const report of recording.reports) await ingest.receive(reportsTopic(device), encodeEnvelope(report));
    const knows = await takesKind(db, device, parametersOf(ModelName('gas-classifier')));
    const shown = await deviceDirectory(db).get(device);
    expect([knows, shown.takes]).toEqual([false, ['model', 'agent']]);
  });

  it('is connected, it is sent no answers to requests for labels, which it could not read', async () => {
    await enrol();
    const { db, clock } = fixture;
    const now = () => clock.at;
    const ingest = createIngest({ db, devices: deviceDirectory(db), now });
    for (const report of recording.reports) await ingest.receive(reportsTopic(device), encodeEnvelope(report));
    const sent: string[] = [];
    const director = createDirector({
      db,
      signer: bulkSigner(createKeyPair('director')),
      publisher: { publish: (topic) => Promise.resolve(void sent.push(topic)) },
      recovery: { epoch: () => 1, isPending: () => false, verifyEnded: () => undefined, statement: () => undefined },
      now,
    });
    await director.sendLabels(device, [{ id: newLabelRequestId(), model: ModelName('gas-classifier'), label: 1 }]);
    expect(sent).toEqual([]);
  });

  it('reports, every kind of report counts', async () => {
    await enrol();
    const { db, clock } = fixture;
    const ingest = createIngest({ db, devices: deviceDirectory(db), now: () => clock.at });
    for (const report of recording.reports)
      expect(await ingest.receive(reportsTopic(device), encodeEnvelope(report))).toBe('stored');
    expect(new Set((await listReports(db, {})).map(({ kind }) => kind))).toEqual(
      new Set(['state', 'transition', 'refusal', 'telemetry', 'drift', 'adaptation', 'incident']),
    );
    const shown = await fixture.app.inject({
      url: `/api/v1/devices/${device}`,
      headers: await fixture.token('viewer'),
    });
    expect(shown.json()).toMatchObject({
      agentVersion: `${recording.minor}.0`,
      models: [{ model: 'gas-classifier', update: { state: 'probation' }, lastOutcome: { outcome: 'fell-back' } }],
    });
  });

  it('is ordered something, forwards or back, it can read the order', async () => {
    await enrol();
    const digest = `sha256:${'ab'.repeat(32)}` as Digest;
    const release = { version: Version('1.0.0'), digest };
    const order = await storeOrder(
      fixture.db,
      {
        device: { id: device, hardwareClass: 'x86-cpu' },
        model: ModelName('gas-classifier'),
        release,
        probation: { minMs: 0, minRequests: 0, maxMs: 0, maxFailureShare: 0.1, maxCrashes: 1 },
        rolloutId: newRolloutId(),
        downgrade: { from: { version: Version('1.1.0'), digest }, to: release, reason: 'worse', cohort: 'canary' },
      },
      { signer: bulkSigner(createKeyPair('director')), epoch: 1, issuedAt: 0, expiresAt: 1 },
    );
    const sent: unknown = JSON.parse(
      Buffer.from(decodeEnvelope(Buffer.from(order.envelope)).payload, 'base64').toString('utf8'),
    );
    expect(Schema.Errors(recording.understands.order, sent)).toEqual([true, []]);
    expect(Schema.Errors(recording.understands.order, { ...(sent as object), later: 1 })[0]).toBe(false);
  });
});

describe('the age of an agent', () => {
  it.each([
    ['1.4.2', '1.4.0', 'current'],
    ['1.3.9', '1.4.0', 'outdated'],
    ['1.2.0', '1.4.0', 'outdated'],
    ['1.1.9', '1.4.0', 'unsupported'],
    ['0.9.0', '1.0.0', 'unsupported'],
    ['1.5.0', '1.4.0', 'newer'],
    ['2.0.0', '1.4.0', 'newer'],
    ['devel', '1.4.0', 'unknown'],
  ])('of %s at a control plane of %s is %s', (agent, own, age) => {
    expect(agentAge(agent, own)).toBe(age);
  });
});
