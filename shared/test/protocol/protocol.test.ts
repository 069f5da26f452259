import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DeviceId, digestOf, ModelName, newDeploymentId, Version } from '../../src/ids/index.js';
import {
  deviceOfTopic,
  openDeployment,
  openEnrolment,
  openReport,
  ordersTopic,
  ProtocolError,
  reportsTopic,
  signDeployment,
  signEnrolment,
  signReport,
  type Deployment,
  type Report,
} from '../../src/protocol/index.js';
import {
  bulkSigner,
  createKeyPair,
  encodeEnvelope,
  occasionalSigner,
  publicKeyOf,
  signEnvelope,
  TrustError,
} from '../../src/trust/index.js';

const device = DeviceId('cam-01');
const key = createKeyPair();
const keys = { threshold: 1, keys: [publicKeyOf(key)] };
const release = { version: Version('1.0.0'), digest: digestOf(Buffer.from('m')) };
const deployment: Deployment = {
  protocol: 1,
  kind: 'deployment',
  deploymentId: newDeploymentId(),
  deviceId: device,
  model: ModelName('gas'),
  release,
  hardwareClass: 'generic',
  epoch: 0,
  counter: 1,
  nonce: '0'.repeat(32),
  issuedAt: 1,
  expiresAt: 2,
  probation: { minMs: 0, minRequests: 0, maxMs: 1000, maxFailureShare: 0.1, maxCrashes: 3 },
};
const report: Report = {
  protocol: 1,
  kind: 'incident',
  deviceId: device,
  sequence: 1,
  at: 5,
  body: { error: { code: 'X', what: 'y', remedy: 'z' } },
};
const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof ProtocolError || error instanceof TrustError) return error.code;
    throw error;
  }
  return 'accepted';
};

describe('when a topic is read', () => {
  it('gives back the device that it was made for, and nobody for any other topic', () => {
    expect(deviceOfTopic(reportsTopic(device), 'reports')).toBe(device);
    expect(deviceOfTopic(ordersTopic(device), 'reports')).toBeUndefined();
    for (const topic of [
      '',
      'drover/v1/devices/+/reports',
      'drover/v2/devices/cam-01/reports',
      `${reportsTopic(device)}/x`,
    ]) {
      expect(deviceOfTopic(topic, 'reports')).toBeUndefined();
    }
  });
});

describe('when a deployment is opened', () => {
  it('survives the way', () => {
    expect(openDeployment(signDeployment(deployment, bulkSigner(key)), keys)).toEqual(deployment);
  });

  it('refuses unknown keys and an unknown protocol, though they are signed', () => {
    const extra = { ...deployment, extra: 1 };
    expect(codeOf(() => openDeployment(signDeployment(extra, bulkSigner(key)), keys))).toBe('MESSAGE_INVALID');
    const newer = { ...deployment, protocol: 2 } as unknown as Deployment;
    expect(codeOf(() => openDeployment(signDeployment(newer, bulkSigner(key)), keys))).toBe('MESSAGE_PROTOCOL_UNKNOWN');
  });

  it('has a code for a protocol number that is nested without end', () => {
    const payload = Buffer.from(`{"protocol":${'['.repeat(100_000)}${']'.repeat(100_000)}}`);
    const envelope = signEnvelope('application/vnd.drover.deployment+json', payload, [bulkSigner(key)]);
    expect(codeOf(() => openDeployment(encodeEnvelope(envelope), keys))).toBe('MESSAGE_PROTOCOL_UNKNOWN');
  });

  it('verifies before it parses: garbage under a foreign key fails on the signature', () => {
    const garbage = signEnvelope('application/vnd.drover.deployment+json', Buffer.from('{'), [
      bulkSigner(createKeyPair()),
    ]);
    expect(codeOf(() => openDeployment(Buffer.from(JSON.stringify(garbage)), keys))).toBe('SIGNATURE_BELOW_THRESHOLD');
  });
});

describe('when a report is opened', () => {
  it('takes keys that it does not know, so that agents may be newer', () => {
    const newer = { ...report, body: { ...report.body, mood: 'fine' } } as Report;
    expect(openReport(signReport(newer, occasionalSigner(key)), device, keys)).toEqual(newer);
  });

  it('refuses a report on the topic of another device, an unknown kind and a malformed body', () => {
    const open = (changed: object) =>
      codeOf(() => openReport(signReport({ ...report, ...changed }, bulkSigner(key)), device, keys));
    expect(open({ deviceId: 'cam-02' })).toBe('MESSAGE_WRONG_DEVICE');
    expect(open({ kind: 'toString' })).toBe('MESSAGE_INVALID');
    expect(open({ body: { error: 1 } })).toBe('MESSAGE_INVALID');
  });

  it('throws coded errors only, whatever is signed', () => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        const bytes = Buffer.from(
          JSON.stringify(signEnvelope('application/vnd.drover.report+json', Buffer.from(json), [bulkSigner(key)])),
        );
        expect(codeOf(() => openReport(bytes, device, keys))).toMatch(/^MESSAGE_/);
      }),
      { numRuns: 50 },
    );
  });
});

describe('when a device asks to be enrolled', () => {
  const request = {
    protocol: 1,
    kind: 'enrolment',
    claimToken: 'c'.repeat(32),
    deviceId: device,
    publicKey: publicKeyOf(key),
    hardwareClass: 'generic',
    attributes: { site: 'lab' },
    agentVersion: '0.1.0',
    at: 1,
  } as const;

  it('has to hold the key that it presents', () => {
    expect(openEnrolment(signEnrolment(request, occasionalSigner(key)))).toEqual(request);
    expect(codeOf(() => openEnrolment(signEnrolment(request, occasionalSigner(createKeyPair()))))).toBe(
      'SIGNATURE_BELOW_THRESHOLD',
    );
  });
});
