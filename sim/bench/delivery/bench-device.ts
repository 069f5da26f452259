import { mkdir, rm } from 'node:fs/promises';
import { systemClock } from '@drover/agent/host';
import { httpReleaseSource } from '@drover/agent/update';
import {
  Bandwidth,
  createWriteGate,
  DEFAULT_LIMITS,
  deliverFile,
  ReleaseStore,
  type Delivery,
} from '@drover/agent/update/delivery';
import { DeviceId } from '@drover/shared/ids';
import type { FileReference } from '@drover/shared/manifest';
import { signEnrolment } from '@drover/shared/protocol';
import { bulkSigner, createKeyPair, publicKeyOf } from '@drover/shared/trust';
import { createClaimToken, type Operator } from '../../src/fleet/index.js';

export interface Credential {
  readonly deviceId: DeviceId;
  readonly credential: string;
}

export async function enrolBenchDevice(operator: Operator): Promise<Credential> {
  const claimToken = await createClaimToken(operator);
  const key = createKeyPair('device');
  const deviceId = DeviceId('bench-device');
  const request = signEnrolment(
    {
      protocol: 1,
      kind: 'enrolment',
      claimToken,
      deviceId,
      publicKey: publicKeyOf(key),
      hardwareClass: 'generic',
      attributes: {},
      agentVersion: '0.1.0',
      at: Date.now(),
    },
    bulkSigner(key),
  );
  const { credential } = await operator.send<{ credential: string }>(
    'POST',
    '/api/v1/enrolments',
    JSON.parse(request.toString('utf8')),
  );
  return { deviceId, credential };
}

/** The store and the download of a real agent on a folder of its own. */
export interface BenchDevice {
  deliver(reference: FileReference, signal: AbortSignal): Promise<Delivery>;
  verify(reference: FileReference, signal: AbortSignal): Promise<void>;
  readonly store: ReleaseStore;
  remove(): Promise<void>;
}

export async function openBenchDevice(
  dataDir: string,
  controlPlaneUrl: string,
  { deviceId, credential }: Credential,
): Promise<BenchDevice> {
  await mkdir(dataDir, { recursive: true });
  const gate = createWriteGate(() => undefined);
  const store = await ReleaseStore.open({ dataDir, gate, diskFreeBytes: () => Promise.resolve(Infinity) });
  const source = httpReleaseSource({ controlPlaneUrl, deviceId, credential });
  return {
    store,
    deliver: (reference, signal) =>
      deliverFile(reference, {
        source,
        store,
        clock: systemClock,
        // Cuts are to cost no time here; pauses grow with failures in a row only.
        retry: { firstMs: 5, maxMs: 2_000, giveUpAfterMs: 60_000 },
        bandwidth: new Bandwidth(DEFAULT_LIMITS, systemClock),
        priority: 'large',
        signal,
      }),
    verify: (reference, signal) => store.verifyBlob(reference, signal),
    remove: () => rm(dataDir, { recursive: true, force: true }),
  };
}
