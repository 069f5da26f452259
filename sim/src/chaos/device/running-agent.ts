import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock } from '@drover/agent/host';
import { deviceIdOf, enrol, IdentityError, loadDeviceKey, loadIdentity, type Identity } from '@drover/agent/identity';
import type { SlotName } from '@drover/agent/launcher';
import { openOutbox } from '@drover/agent/link';
import { ServeError } from '@drover/agent/serve';
import { InlineServing } from '@drover/agent/serve/inline';
import { AgentSlots, createUpdater, httpReleaseSource, LaunchedAgent, type Serving } from '@drover/agent/update';
import { digestOf, type Digest, type ModelName } from '@drover/shared/ids';
import type { StateBody } from '@drover/shared/protocol';
import { bulkSigner, publicKeyOf, type KeyPair } from '@drover/shared/trust';
import { TRIAL_PLATFORM } from '../releases/agent-bundle.js';
import { launcherFolder, versionOf } from './launched-device.js';
import type { DevicePlan, LifeEvent } from './plan.js';

/** The inference process decides what is in force; the file comes after it. */
const FILE_FOLLOWS_WITHIN_MS = 1_000;
const LOOK_EVERY_MS = 5;

type ModelState = StateBody['models'][number];

export interface RunningAgentOptions {
  readonly device: DevicePlan;
  readonly slot: SlotName;
  readonly emit: (event: LifeEvent) => void;
  /** A state has changed. */
  readonly onChange: () => void;
  /** The agent wants to end, so that the launcher can start another one. */
  readonly onRestart: () => void;
}

export type RunningAgent = Awaited<ReturnType<typeof startAgent>>;

/** Who this device is; enrols it where it is new. */
export async function identify({ device, emit }: Pick<RunningAgentOptions, 'device' | 'emit'>) {
  const { dataDir, deviceId, hardwareClass, serverUrl } = device;
  const isNew = { value: false };
  const identity: Identity = await loadIdentity(dataDir).catch((error: unknown) => {
    if (!(error instanceof IdentityError) || error.code !== 'IDENTITY_NOT_ENROLLED') throw error;
    isNew.value = true;
    const claim = { claimToken: 'claim', attributes: {}, agentVersion: '1.0.0' };
    const pinnedRoot = Buffer.from(device.pinnedRoot);
    const common = { dataDir, deviceId, hardwareClass, controlPlaneUrl: serverUrl, clock: systemClock, fetch };
    return enrol({ ...claim, ...common, pinnedRoot });
  });
  const deviceKey = await loadDeviceKey(dataDir);
  const { certificate } = identity.grant.identity;
  emit({ event: 'identified', publicKey: publicKeyOf(deviceKey), certificate, isNew: isNew.value });
  return { identity, deviceKey };
}

/** The agent without its link: updater, store, journal, outbox and inference on a real data folder. What it would publish is told instead. */
export async function startAgent(options: RunningAgentOptions, who: { identity: Identity; deviceKey: KeyPair }) {
  const { device, slot, emit, onChange } = options;
  const { dataDir, hardwareClass, serverUrl } = device;
  const { grant, pinnedRoot } = who.identity;
  const deviceId = deviceIdOf(who.identity);
  const outbox = openOutbox({ dataDir, deviceId, signer: bulkSigner(who.deviceKey), clock: systemClock });
  const tellIncident = (error: unknown): void =>
    emit({ event: 'incident', code: 'THROWN', what: error instanceof Error ? error.message : String(error) });
  const inline = new InlineServing({
    providers: ['cpu'],
    hardwareClass,
    clock: systemClock,
    recorder: {
      record: () => undefined,
      compare: () => undefined,
      label: () => Promise.reject(new Error('nothing is recorded here')),
      inputs: () => undefined,
    },
    onIncident: tellIncident,
  });
  const runner = new LaunchedAgent({
    slots: new AgentSlots(launcherFolder(dataDir)),
    slot,
    nodeVersion: process.versions.node,
    configArguments: [],
    environment: { PATH: process.env['PATH'] },
    diskFreeBytes: () => Promise.resolve(1024 ** 4),
    nowMs: () => Date.now(),
    restart: options.onRestart,
  });
  const runs = runner.running()?.release.digest;
  if (runs === undefined || !device.unreachable.includes(runs)) runner.connected();
  const updater = await createUpdater({
    dataDir,
    deviceId,
    hardwareClass,
    pinnedRoot: Buffer.from(pinnedRoot),
    enrolled: { epoch: grant.epoch, director: grant.director },
    source: httpReleaseSource({ controlPlaneUrl: serverUrl, deviceId, credential: grant.credential }),
    serving: withUnhealthyReleases(inline, device.unhealthy),
    site: device.site,
    parameters: inline,
    agentReleases: { runner, platform: TRIAL_PLATFORM },
    clock: systemClock,
    onTransition: (transition) => {
      outbox.enqueue('transition', transition);
      onChange();
    },
    onRefusal: (refusal) => {
      emit({ event: 'refused', code: refusal.error.code, what: refusal.error.what });
      outbox.enqueue('refusal', refusal);
    },
    onIncident: (incident) => {
      emit({ event: 'incident', code: incident.error.code, what: incident.error.what });
      outbox.enqueue('incident', incident);
    },
    retry: { firstMs: 5, maxMs: 50, giveUpAfterMs: 10_000 },
    diskFreeBytes: () => Promise.resolve(1024 ** 4),
  });
  const agentVersion = versionOf(slot);

  async function infer(): Promise<readonly number[]> {
    const data = Float32Array.from(device.probe);
    const inputs = { features: { datatype: 'FP32', shape: [1, data.length], data } } as const;
    const { outputs } = await inline.infer({ model: device.model, requestId: 'probe', inputs });
    return Array.from(outputs['probabilities']?.data ?? [], Number);
  }

  /** By digest: what applications are given, and what the file holds that they may read instead, which follows a moment later. */
  async function parameters(): Promise<{ given?: Digest; file?: Digest }> {
    const untilMs = performance.now() + FILE_FOLLOWS_WITHIN_MS;
    for (;;) {
      const file = await readFile(join(dataDir, 'parameters', `${device.model}.json`)).catch((error: unknown) => {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
        throw error;
      });
      const serves = inline.running(device.model) !== undefined;
      const given = serves ? givenParameters(inline, device.model) : undefined;
      const found = { ...(given && { given: digestOf(given) }), ...(file && { file: digestOf(file) }) };
      if (!serves || found.given === found.file || performance.now() > untilMs) return found;
      await delay(LOOK_EVERY_MS);
    }
  }

  let isClosed = false;
  return {
    updater,
    infer,
    ofModel: (model: ModelName): ModelState | undefined => updater.state().find((each) => each.model === model),
    serves: (): boolean => inline.running(device.model) !== undefined,
    async resume(): Promise<void> {
      await updater.resume();
      runner.settle();
    },
    /** Reports the state, hands over all reports that wait, and asks for an inference. @returns whether it could: another agent may have taken its place */
    async examine(atStep: number): Promise<boolean> {
      const found = await parameters();
      if (isClosed) return false;
      // Nothing comes between: what is reported is what was found.
      const body = { agentVersion, hardwareClass, attributes: {}, models: updater.state() };
      outbox.enqueue('state', body);
      for (let head = outbox.head(); head; head = outbox.head()) {
        emit({ event: 'report', bytesBase64: Buffer.from(head.bytes).toString('base64') });
        outbox.remove(head.sequence);
      }
      const common = { event: 'examined', atStep, agentVersion, parameters: found } as const;
      try {
        emit({ ...common, answer: await infer() });
      } catch (error) {
        emit({ ...common, error: error instanceof Error ? error.message : String(error) });
      }
      return true;
    },
    async close(): Promise<void> {
      isClosed = true;
      await updater.close();
      outbox.close();
      await inline.close();
    },
  };
}

function givenParameters(inline: InlineServing, model: ModelName): Buffer | undefined {
  try {
    return Buffer.from(inline.parameters(model).document);
  } catch (error) {
    if (error instanceof ServeError && error.code === 'PARAMETERS_NOT_IN_FORCE') return undefined;
    throw error;
  }
}

/** The one thing that is made up: a release that answers well in its self-test and badly afterwards. */
function withUnhealthyReleases(serving: Serving, unhealthy: DevicePlan['unhealthy']): Serving {
  return {
    selfTest: (candidate, signal) => serving.selfTest(candidate, signal),
    activate: (candidate, signal, replaced) => serving.activate(candidate, signal, replaced),
    dropKept: (model) => serving.dropKept(model),
    deactivate: (model) => serving.deactivate(model),
    running: (model) => serving.running(model),
    health(model) {
      const health = serving.health(model);
      const digest = serving.running(model)?.release.digest;
      return digest !== undefined && unhealthy.includes(digest) ? { ...health, failures: health.requests } : health;
    },
  };
}
