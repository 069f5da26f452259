import { DeviceId, digestOf, ModelName, Version } from '../../src/ids/index.js';
import {
  DEPLOYMENT_TYPE,
  ENROLMENT_TYPE,
  LABEL_ANSWERS_TYPE,
  openDeployment,
  openEnrolment,
  openLabelAnswers,
  openRecoveryStatement,
  openReadmission,
  openRenewal,
  openReport,
  parseClaimToken,
  RECOVERY_TYPE,
  READMISSION_TYPE,
  RENEWAL_TYPE,
  REPORT_TYPE,
  signDeployment,
  type Deployment,
} from '../../src/protocol/index.js';
import { bulkSigner, encodeEnvelope, keyPairFromSeed, publicKeyOf, signEnvelope } from '../../src/trust/index.js';
import type { FuzzTarget } from '../../src/fuzzing/index.js';

const key = keyPairFromSeed(Buffer.alloc(32, 7), 'fuzzing');
const signer = bulkSigner(key);
const trusted = { threshold: 1, keys: [publicKeyOf(key)] };
const device = DeviceId('pump-7');
const release = { version: Version('1.2.0'), digest: digestOf(Buffer.from('release')) };
const json = (document: unknown): Uint8Array => Buffer.from(JSON.stringify(document));

/** Signs whatever it gets, so that the parser behind the signature is met and not the signature. */
const signed = (type: string, payload: Uint8Array): Buffer => encodeEnvelope(signEnvelope(type, payload, [signer]));

const deployment: Deployment = {
  protocol: 1,
  kind: 'deployment',
  deploymentId: '6ba7b810-9dad-41d1-80b4-00c04fd430c8' as Deployment['deploymentId'],
  deviceId: device,
  model: ModelName('gas-classifier'),
  release,
  hardwareClass: 'generic',
  epoch: 1,
  counter: 7,
  nonce: '0'.repeat(32),
  issuedAt: 1_700_000_000_000,
  expiresAt: 1_700_086_400_000,
  downgrade: { from: release, to: release, reason: 'drift', expiresAt: 1_700_086_400_000, cohort: 'all' },
  probation: { minMs: 1, minRequests: 1, maxMs: 2, maxFailureShare: 0.1, maxCrashes: 1 },
};

const report = (kind: string, body: unknown): Uint8Array =>
  json({ protocol: 1, kind, deviceId: device, sequence: 3, at: 1_700_000_000_000, body });
const error = { code: 'UPDATE_DISK_FULL', what: 'full', remedy: 'free some', where: '/var' };
const scored = { count: 10, before: 0.5, after: 0.7 };
const REPORTS = [
  report('state', {
    agentVersion: '0.1.0',
    hardwareClass: 'generic',
    attributes: { site: 'north' },
    models: [
      {
        model: 'gas-classifier',
        running: { release, loaded: release.digest, provider: { requested: ['cuda', 'cpu'], actual: 'cpu' } },
        update: { state: 'idle' },
        accepted: { epoch: 1, counter: 7 },
        lastOutcome: { deploymentId: deployment.deploymentId, release, outcome: 'fell-back', error },
      },
    ],
  }),
  report('transition', {
    deploymentId: deployment.deploymentId,
    model: 'gas-classifier',
    release,
    from: 'idle',
    to: 'received',
    reason: 'an order',
  }),
  report('refusal', { subject: 'deployment', error }),
  report('telemetry', {
    windowMs: 60_000,
    host: { cpuShare: 0.5, gpu: { name: 'none' } },
    models: [
      {
        model: 'gas-classifier',
        release,
        requests: 3,
        failures: 0,
        inferences: 3,
        latencyUs: { p50: 1, p99: 2, max: 3 },
        labelled: { count: 1, correct: 1 },
        predictions: { ethanol: 3 },
      },
    ],
  }),
  report('drift', {
    model: 'gas-classifier',
    release,
    status: 'raised',
    detector: 'ks',
    windowSize: 200,
    windowEndAt: 1_700_000_000_000,
    statistic: 0.4,
    threshold: 0.2,
    falseAlarmRate: 0.001,
    worst: [{ feature: 1, name: 'sensor 1', statistic: 0.4 }],
  }),
  report('adaptation', {
    model: 'gas-classifier',
    base: release,
    adaptation: release.digest,
    verdict: 'PASS',
    reason: 'better',
    holdout: scored,
    anchor: scored,
    trainedOn: { labelled: 10, replayed: 2, dataset: release.digest },
    steps: 100,
    active: true,
  }),
  report('incident', { error }),
  report('telemetry', {
    windowMs: 1,
    models: [],
    labels: {
      open: [deployment.deploymentId],
      described: [
        {
          id: deployment.deploymentId,
          model: 'gas-classifier',
          version: release.version,
          requestId: 'frame 17',
          row: 0,
          reason: 'random',
          requestedAt: 1,
          servedAt: 1,
          expiresAt: 2,
          prediction: 1,
          confidence: 0.5,
          features: [0.5, null],
        },
      ],
    },
    labelOutcomes: [{ id: deployment.deploymentId, became: 'joined' }],
  }),
];

const labelAnswers = {
  protocol: 1,
  kind: 'label-answers',
  deviceId: device,
  issuedAt: 1_700_000_000_000,
  answers: [
    { id: deployment.deploymentId, model: 'gas-classifier', label: 2 },
    { id: deployment.deploymentId, model: 'gas-classifier', label: null },
  ],
};

const enrolment = {
  protocol: 1,
  kind: 'enrolment',
  claimToken: 'token',
  deviceId: device,
  publicKey: publicKeyOf(key),
  hardwareClass: 'generic',
  attributes: { site: 'north' },
  agentVersion: '0.1.0',
  at: 1_700_000_000_000,
};

const { claimToken: _claimToken, ...presented } = enrolment;
const readmission = {
  ...presented,
  kind: 'readmission',
  certificate: '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n',
  credentialHash: '0'.repeat(64),
};

const recovery = {
  protocol: 1,
  kind: 'recovery',
  epoch: 2,
  director: trusted,
  reason: 'restored a backup',
  issuedAt: 1_700_000_000_000,
};

export const signedDocuments: readonly FuzzTarget[] = [
  {
    name: 'deployment',
    covers: ['openDeployment'],
    format: 'json',
    seeds: () => [json(deployment)],
    parse: (bytes) => openDeployment(signed(DEPLOYMENT_TYPE, bytes), trusted),
  },
  {
    name: 'deployment-envelope',
    covers: ['openDeployment', 'decodeEnvelope', 'verifyEnvelope'],
    format: 'json',
    seeds: () => [signDeployment(deployment, signer)],
    parse: (bytes) => openDeployment(bytes, trusted),
  },
  {
    name: 'label-answers',
    covers: ['openLabelAnswers'],
    format: 'json',
    seeds: () => [json(labelAnswers)],
    parse: (bytes) => openLabelAnswers(signed(LABEL_ANSWERS_TYPE, bytes), device, trusted),
  },
  {
    name: 'report',
    covers: ['openReport'],
    format: 'json',
    seeds: () => REPORTS,
    parse: (bytes) => openReport(signed(REPORT_TYPE, bytes), device, trusted),
  },
  {
    name: 'enrolment',
    covers: ['openEnrolment'],
    format: 'json',
    seeds: () => [json(enrolment)],
    parse: (bytes) => openEnrolment(signed(ENROLMENT_TYPE, bytes)),
  },
  {
    name: 'readmission',
    covers: ['openReadmission'],
    format: 'json',
    seeds: () => [json(readmission)],
    parse: (bytes) => openReadmission(signed(READMISSION_TYPE, bytes)),
  },
  {
    name: 'enrolment-envelope',
    covers: ['openEnrolment'],
    format: 'json',
    seeds: () => [signed(ENROLMENT_TYPE, json(enrolment))],
    parse: (bytes) => openEnrolment(bytes),
  },
  {
    name: 'recovery-statement',
    covers: ['openRecoveryStatement'],
    format: 'json',
    seeds: () => [json(recovery)],
    parse: (bytes) => openRecoveryStatement(signed(RECOVERY_TYPE, bytes), trusted),
  },
  {
    name: 'renewal-request',
    covers: ['openRenewal'],
    format: 'json',
    seeds: () => [json({ protocol: 1, kind: 'renewal', deviceId: device, agentVersion: '0.1.0', at: 0 })],
    parse: (bytes) => openRenewal(signed(RENEWAL_TYPE, bytes), () => Promise.resolve(trusted)),
  },
  {
    name: 'claim-token',
    covers: ['parseClaimToken'],
    format: 'bytes',
    seeds: () => [Buffer.from('claim_secret.pin'), Buffer.from('claim_secret')],
    parse: (bytes) => parseClaimToken(Buffer.from(bytes).toString('latin1')),
  },
];
