// Records what an agent of this source says and understands, before its version is published:
//   node --import tsx control-plane/test/skew/record.ts 0.1
// A recording of a version that was published is never made again: it is what devices in the field say.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DeviceId, digestOf, ModelName, newDeploymentId, Version } from '@drover/shared/ids';
import {
  Deployment,
  EnrolmentGrant,
  signEnrolment,
  signReport,
  type Report,
  type ReportBody,
  type ReportKind,
} from '@drover/shared/protocol';
import { bulkSigner, createKeyPair, occasionalSigner, publicKeyOf } from '@drover/shared/trust';
import { CLAIM_TOKEN } from './recording.js';

const [, , minor = ''] = process.argv;
if (!/^\d+\.\d+$/.test(minor)) throw new Error('Give the minor version, for example 0.1.');
const folder = join(import.meta.dirname, `agent-${minor}`);
const key = createKeyPair('device');
const deviceId = DeviceId('recorded');
const model = ModelName('gas-classifier');
const release = { version: Version('1.0.0'), digest: digestOf(Buffer.from('a release')) };
const adaptation = digestOf(Buffer.from('an adaptation'));
const deploymentId = newDeploymentId();
const error = { code: 'PROBATION_CRASHED', what: 'It crashed.', remedy: 'Mend it.', where: 'here' };
const at = Date.parse('2026-01-01T00:00:00Z');

const bodies: { [Kind in ReportKind]: ReportBody<Kind> } = {
  state: {
    agentVersion: `${minor}.0`,
    hardwareClass: 'x86-cpu',
    attributes: { site: 'lab' },
    takes: ['model', 'agent', 'parameters'],
    models: [
      {
        model,
        running: {
          release,
          loaded: adaptation,
          adaptation,
          provider: { requested: ['cuda', 'cpu'], actual: 'cpu', reason: 'no GPU' },
        },
        update: { state: 'probation', deploymentId, release },
        accepted: { epoch: 1, counter: 7 },
        lastOutcome: { deploymentId, release, outcome: 'fell-back', error },
      },
    ],
  },
  transition: { deploymentId, model, release, from: 'probation', to: 'falling-back', reason: 'it crashed', error },
  refusal: { subject: 'deployment', deploymentId, error },
  telemetry: {
    windowMs: 60_000,
    host: { cpuShare: 0.5, memoryTotalMiB: 4000, diskFreeMiB: 900, temperatureC: 50, gpu: { name: 'Orin' } },
    models: [
      {
        model,
        release,
        requests: 10,
        failures: 1,
        inferences: 40,
        latencyUs: { p50: 100, p99: 900, max: 1000 },
        labelled: { count: 20, correct: 19 },
        confidence: { count: 40, mean: 0.9 },
        predictions: { ethanol: 30, ammonia: 10 },
      },
    ],
  },
  drift: {
    model,
    release,
    status: 'raised',
    detector: 'ks',
    windowSize: 200,
    windowEndAt: at,
    statistic: 0.4,
    threshold: 0.2,
    falseAlarmRate: 0.001,
    worst: [{ feature: 3, name: 'R3', statistic: 0.4 }],
  },
  adaptation: {
    model,
    base: release,
    adaptation,
    verdict: 'PASS',
    reason: 'better',
    holdout: { count: 100, before: 0.8, after: 0.9 },
    anchor: { count: 100, before: 0.95, after: 0.95 },
    trainedOn: { labelled: 400, replayed: 100, dataset: adaptation },
    steps: 500,
    active: true,
  },
  incident: { error },
};

const reports = (Object.keys(bodies) as ReportKind[]).map((kind, index) => {
  const report = { protocol: 1, kind, deviceId, sequence: index + 1, at: at + index, body: bodies[kind] } as Report;
  return JSON.parse(signReport(report, bulkSigner(key)).toString('utf8')) as unknown;
});
const enrolment: unknown = JSON.parse(
  signEnrolment(
    {
      protocol: 1,
      kind: 'enrolment',
      claimToken: CLAIM_TOKEN,
      deviceId,
      publicKey: publicKeyOf(key),
      hardwareClass: 'x86-cpu',
      attributes: { site: 'lab' },
      agentVersion: `${minor}.0`,
      at,
    },
    occasionalSigner(key),
  ).toString('utf8'),
);

mkdirSync(folder, { recursive: true });
for (const [name, content] of Object.entries({
  reports,
  enrolment,
  understands: { order: Deployment, grant: EnrolmentGrant },
}))
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(content, undefined, 2)}\n`);
