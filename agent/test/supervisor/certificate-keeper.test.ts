import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DeviceId } from '@drover/shared/ids';
import { createKeyPair, publicKeyOf } from '@drover/shared/trust';
import type { Identity } from '../../src/identity/index.js';
import { keepCertificate, type CertificateKeeper } from '../../src/supervisor/certificate-keeper.js';

const key = createKeyPair();
const HOUR_MS = 3_600_000;
const certificate = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';
const identity: Identity = {
  format: 'drover.identity/1',
  controlPlaneUrl: 'https://control-plane.example',
  hardwareClass: 'generic',
  attributes: {},
  pinnedRoot: '{}',
  serverTrust: 'authorities',
  grant: {
    protocol: 1,
    deviceId: 'pump-7' as DeviceId,
    identity: { certificate, authorities: [certificate] },
    director: { threshold: 1, keys: [publicKeyOf(key)] },
    brokerUrl: 'mqtts://control-plane.example',
    epoch: 1,
  },
};

describe('the keeper of the certificate', () => {
  let dataDir: string;
  let monotonicMs: number;
  /** Paths that were asked, and what is answered. */
  let asked: string[];
  let answers: Record<string, [status: number, body: object]>;
  let keeper: CertificateKeeper;
  const refusal = (code: string): [number, object] => [403, { error: { code, what: 'no', remedy: 'none' } }];
  const renewed: [number, object] = [201, { deviceId: 'pump-7', certificate, authorities: [certificate] }];

  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'drover-keeper-'));
    monotonicMs = 0;
    asked = [];
    answers = {};
    keeper = keepCertificate({
      dataDir,
      identity,
      deviceKey: key,
      agentVersion: '0.0.0-test',
      clock: { now: () => 1, monotonic: () => monotonicMs },
      fetch: (url) => {
        const path = new URL(url).pathname.replace('/api/v1/', '');
        asked.push(path);
        const [status, body] = answers[path] ?? [500, {}];
        return Promise.resolve(new Response(JSON.stringify(body), { status }));
      },
      log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
      onRenewed: () => undefined,
    });
  });
  afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

  it('when it is refused for good, asks more and more seldom, however often the broker hangs up', async () => {
    answers['certificate-renewals'] = refusal('DEVICE_REVOKED');
    const days = 4;
    for (; monotonicMs < days * 24 * HOUR_MS; monotonicMs += 30_000) await keeper.refused();
    expect(asked.length).toBeGreaterThan(days * 24);
    // Full jitter: half an hour on average between two, once they are far apart.
    expect(asked.length).toBeLessThan(days * 24 * 3);
    expect(new Set(asked)).toEqual(new Set(['certificate-renewals']));
  });

  it('when it was renewed and found good, renews again at once where that is due', async () => {
    answers['certificate-renewals'] = renewed;
    await keeper.refused();
    await keeper.refused();
    expect(asked).toEqual(['certificate-renewals']);
    answers['device/certificate'] = [200, { renewalDue: false, authorities: [certificate] }];
    await keeper.check();
    answers['device/certificate'] = [200, { renewalDue: true, authorities: [certificate] }];
    await keeper.check();
    expect(asked.slice(1)).toEqual(['device/certificate', 'device/certificate', 'certificate-renewals']);
  });

  it('when the authorities change again before the new certificate was found good, renews at once', async () => {
    const other = certificate.replace('MIIB', 'MIIC');
    answers['certificate-renewals'] = [201, { deviceId: 'pump-7', certificate, authorities: [certificate, other] }];
    answers['device/certificate'] = [200, { renewalDue: false, authorities: [certificate, other] }];
    await keeper.check();
    answers['certificate-renewals'] = [201, { deviceId: 'pump-7', certificate, authorities: [other] }];
    answers['device/certificate'] = [200, { renewalDue: false, authorities: [other] }];
    await keeper.check();
    expect(keeper.identity().grant.identity.authorities).toEqual([other]);
    expect(asked.filter((path) => path === 'certificate-renewals')).toHaveLength(2);
  });

  it('when it is asked while an answer is on its way, asks again after it', async () => {
    answers['device/certificate'] = [200, { renewalDue: false, authorities: [certificate] }];
    await Promise.all([keeper.check(), keeper.check(), keeper.check()]);
    expect(asked).toEqual(['device/certificate', 'device/certificate']);
  });

  it('when the control plane has forgotten the device, shows what it was given', async () => {
    answers['certificate-renewals'] = refusal('DEVICE_UNKNOWN');
    answers['readmissions'] = renewed;
    await keeper.refused();
    expect(asked).toEqual(['certificate-renewals', 'readmissions']);
  });
});
