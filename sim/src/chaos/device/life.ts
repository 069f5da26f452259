import { setTimeout as pause } from 'node:timers/promises';
import { systemClock } from '@drover/agent/host';
import { openOutbox } from '@drover/agent/link';
import { InlineServing } from '@drover/agent/serve/inline';
import { createUpdater, httpReleaseSource, type Serving, type Updater } from '@drover/agent/update';
import type { StateBody } from '@drover/shared/protocol';
import { bulkSigner } from '@drover/shared/trust';
import type { DevicePlan, LifeEvent, LifeStep } from './plan.js';

/** Longest time for an update of a few kilobytes, before the device counts as stuck. */
const SETTLE_TIMEOUT_MS = 12_000;
const LOOK_EVERY_MS = 2;
const REQUEST_EVERY_MS = 3;

export interface LifeOptions {
  readonly device: DevicePlan;
  readonly steps: readonly LifeStep[];
  readonly emit: (event: LifeEvent) => void;
  /** Told before each step; 0 is the start. */
  readonly onStep: (index: number) => void;
  /** Asked for the name of the state in which a write happens. */
  readonly onUpdater: (state: () => string) => void;
}

/**
 * One life of a device: the real updater, store, journal, outbox and inference on a real data folder, from its start to the end of its steps. The
 * link is left out: what it would publish is told instead.
 */
export async function live({ device, steps, emit, onStep, onUpdater }: LifeOptions): Promise<void> {
  const { dataDir, deviceId, model, hardwareClass } = device;
  const outbox = openOutbox({ dataDir, deviceId, signer: bulkSigner(device.deviceKey), clock: systemClock });
  const inline = new InlineServing({
    providers: ['cpu'],
    hardwareClass,
    clock: systemClock,
    recorder: { record: () => undefined, label: () => undefined },
    onIncident: tellIncident,
  });
  const serving = withUnhealthyReleases(inline, device.unhealthy);

  function tellIncident(error: unknown): void {
    emit({ event: 'incident', code: 'THROWN', what: error instanceof Error ? error.message : String(error) });
  }

  const updater: Updater = await createUpdater({
    dataDir,
    deviceId,
    hardwareClass,
    pinnedRoot: Buffer.from(device.pinnedRoot),
    enrolled: { epoch: 1, director: device.director },
    source: httpReleaseSource({ controlPlaneUrl: device.serverUrl, deviceId, credential: device.credential }),
    serving,
    clock: systemClock,
    onTransition: (transition) => outbox.enqueue('transition', transition),
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
  const ofModel = (): StateBody['models'][number] | undefined => updater.state().find((each) => each.model === model);
  onUpdater(() => ofModel()?.update.state ?? 'idle');

  const infer = async (): Promise<readonly number[]> => {
    const data = Float32Array.from(device.probe);
    const inputs = { features: { datatype: 'FP32', shape: [1, data.length], data } } as const;
    const { outputs } = await inline.infer({ model, requestId: 'probe', inputs });
    return Array.from(outputs['probabilities']?.data ?? [], Number);
  };
  /** As a local application would: probation needs requests. */
  const application = setInterval(() => {
    if (inline.running(model)) infer().catch(tellIncident);
  }, REQUEST_EVERY_MS);

  async function examine(atStep: number): Promise<void> {
    outbox.enqueue('state', { agentVersion: '0.0.0', hardwareClass, attributes: {}, models: updater.state() });
    for (let head = outbox.head(); head; head = outbox.head()) {
      emit({ event: 'report', bytesBase64: Buffer.from(head.bytes).toString('base64') });
      outbox.remove(head.sequence);
    }
    try {
      emit({ event: 'examined', atStep, answer: await infer() });
    } catch (error) {
      emit({ event: 'examined', atStep, error: error instanceof Error ? error.message : String(error) });
    }
  }

  async function receive(bytesBase64: string, deploymentId: string): Promise<void> {
    const startedMs = performance.now();
    await updater.receive(Buffer.from(bytesBase64, 'base64'));
    emit({ event: 'acknowledged', deploymentId, tookMs: performance.now() - startedMs });
  }

  async function until(holds: () => boolean, step: number): Promise<boolean> {
    const startedMs = performance.now();
    while (!holds()) {
      if (performance.now() - startedMs > SETTLE_TIMEOUT_MS) {
        emit({ event: 'stuck', step, state: ofModel()?.update.state ?? 'none' });
        return false;
      }
      await pause(LOOK_EVERY_MS);
    }
    return true;
  }
  const hasEnded = (deploymentId: string) => (): boolean =>
    ofModel()?.update.state === 'idle' && ofModel()?.lastOutcome?.deploymentId === deploymentId;
  const isIdle = (): boolean => (ofModel()?.update.state ?? 'idle') === 'idle';

  const acceptedCounter = (): number => ofModel()?.accepted?.counter ?? 0;

  async function perform(step: LifeStep, index: number): Promise<void> {
    switch (step.kind) {
      case 'order':
        await receive(step.bytesBase64, step.deploymentId);
        await until(hasEnded(step.deploymentId), index);
        return;
      case 'supersede':
        await receive(step.first.bytesBase64, step.first.deploymentId);
        await until(() => ofModel()?.update.state === step.inState || hasEnded(step.first.deploymentId)(), index);
        await receive(step.second.bytesBase64, step.second.deploymentId);
        await until(hasEnded(step.second.deploymentId), index);
        return;
      case 'carry-on':
        await until(() => hasEnded(step.deploymentId)() || (isIdle() && acceptedCounter() > step.counter), index);
        return;
      case 'adapt':
        if (await until(isIdle, index))
          await updater.activateAdaptation({ model, modelFile: step.file, digest: step.digest });
        return;
      case 'drop-adaptation':
        if (await until(isIdle, index)) await updater.dropAdaptation(model);
        return;
    }
  }

  try {
    onStep(0);
    await updater.resume();
    await examine(0);
    for (const [index, step] of steps.entries()) {
      onStep(index + 1);
      await perform(step, index + 1).catch((error: unknown) => {
        emit({ event: 'step-failed', step: index + 1, error: error instanceof Error ? error.message : String(error) });
      });
      await examine(index + 1);
    }
  } finally {
    clearInterval(application);
  }
  await updater.close();
  outbox.close();
  await inline.close();
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
