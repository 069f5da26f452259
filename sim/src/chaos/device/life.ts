import { existsSync, readFileSync } from 'node:fs';
import { renewCertificate } from '@drover/agent/identity';
import { UpdateError } from '@drover/agent/update';
import type { ModelName } from '@drover/shared/ids';
import { TrialLauncher } from './launched-device.js';
import { identify, startAgent, type RunningAgent } from './running-agent.js';
import type { DevicePlan, LifeEvent, LifeStep } from './plan.js';

const SETTLE_TIMEOUT_MS = 30_000;
const REQUEST_EVERY_MS = 3;

export interface LifeOptions {
  readonly device: DevicePlan;
  readonly steps: readonly LifeStep[];
  readonly emit: (event: LifeEvent) => void;
  /** Longest time for an update of a few kilobytes, before the device counts as stuck. */
  readonly settleTimeoutMs?: number;
  /** Told before each step; 0 is the start. */
  readonly onStep: (index: number) => void;
  /** Asked for the name of the state in which a write happens. */
  readonly onAgent: (stateOf: (model: ModelName) => string) => void;
}

/** One life of a device on a real data folder, from its start to the end of its steps. */
export async function live(options: LifeOptions): Promise<void> {
  const { device, steps, emit, onStep, onAgent, settleTimeoutMs = SETTLE_TIMEOUT_MS } = options;
  const { model, dataDir } = device;
  const launcher = new TrialLauncher(dataDir);
  const waiting = new Set<() => void>();
  const changed = (): void => {
    for (const look of [...waiting]) look();
  };
  let agent: RunningAgent | undefined;
  let restarting = Promise.resolve();
  let restarts = 0;

  /** It changes when the device starts another version of itself. */
  function now(): RunningAgent {
    if (!agent) throw new Error('no agent was started yet');
    return agent;
  }

  onStep(0);
  let who = await identify({ device, emit });

  async function launch(): Promise<void> {
    const slot = launcher.next();
    const onRestart = (): void => {
      restarts += 1;
      // It is called from within a step of the updater, which has to end first.
      restarting = restarting
        .then(() => new Promise((resolve) => void setImmediate(resolve)))
        .then(async () => {
          await now().close();
          launcher.ended(slot);
          await launch();
          restarts -= 1;
          changed();
        });
    };
    agent = await startAgent({ device, slot, emit, onChange: changed, onRestart }, who);
    onAgent((of) => now().ofModel(of)?.update.state ?? 'idle');
    await now()
      .resume()
      .catch((error: unknown) => {
        // What it would have served, the agent that takes its place serves.
        if (restarts === 0) throw error;
      });
  }

  async function settled(): Promise<void> {
    while (restarts > 0) await restarting;
  }

  async function until(holds: () => boolean, step: number, about: ModelName): Promise<boolean> {
    await settled();
    if (holds()) return true;
    return new Promise((resolve) => {
      const end = (isSo: boolean): void => {
        waiting.delete(look);
        clearTimeout(timer);
        resolve(isSo);
      };
      // A change is told before those who wait for its consequences have seen it.
      const look = (): void =>
        void setImmediate(() => {
          if (restarts === 0 && holds()) end(true);
        });
      waiting.add(look);
      const timer = setTimeout(() => {
        emit({ event: 'stuck', step, state: now().ofModel(about)?.update.state ?? 'none' });
        end(false);
      }, settleTimeoutMs);
    });
  }
  const hasEnded = (of: ModelName, deploymentId: string) => (): boolean =>
    now().ofModel(of)?.update.state === 'idle' && now().ofModel(of)?.lastOutcome?.deploymentId === deploymentId;
  const isIdle = (of: ModelName) => (): boolean => (now().ofModel(of)?.update.state ?? 'idle') === 'idle';
  function hasAcceptedLater({ model: of, epoch, counter }: Extract<LifeStep, { kind: 'carry-on' }>): boolean {
    const accepted = now().ofModel(of)?.accepted ?? { epoch: 0, counter: 0 };
    return accepted.epoch > epoch || (accepted.epoch === epoch && accepted.counter > counter);
  }

  /** As the broker does: again, where the agent stopped before it had taken it. */
  async function deliver(bytesBase64: string): Promise<void> {
    for (;;) {
      await settled();
      try {
        await now().updater.receive(Buffer.from(bytesBase64, 'base64'));
        return;
      } catch (error) {
        if (!(error instanceof UpdateError) || error.code !== 'UPDATE_CLOSED') throw error;
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }

  async function receive({ bytesBase64, deploymentId }: { bytesBase64: string; deploymentId: string }): Promise<void> {
    const startedMs = performance.now() - starvedMs();
    await deliver(bytesBase64);
    emit({ event: 'acknowledged', deploymentId, tookMs: performance.now() - starvedMs() - startedMs });
  }

  async function perform(step: LifeStep, index: number): Promise<void> {
    await settled();
    switch (step.kind) {
      case 'order':
        await receive(step);
        await until(hasEnded(step.model, step.deploymentId), index, step.model);
        return;
      case 'supersede': {
        const { first, second, inState, model: of } = step;
        await receive(first);
        const isThere = (): boolean => now().ofModel(of)?.update.state === inState;
        await until(() => isThere() || hasEnded(of, first.deploymentId)(), index, of);
        await receive(second);
        await until(hasEnded(of, second.deploymentId), index, of);
        return;
      }
      case 'carry-on': {
        const { model: of, deploymentId } = step;
        await until(() => hasEnded(of, deploymentId)() || (isIdle(of)() && hasAcceptedLater(step)), index, of);
        return;
      }
      case 'adapt':
        if (await until(isIdle(model), index, model))
          await now().updater.activateAdaptation({ model, modelFile: step.file, digest: step.digest });
        return;
      case 'drop-adaptation':
        if (await until(isIdle(model), index, model)) await now().updater.dropAdaptation(model);
        return;
      case 'recover':
        await deliver(step.bytesBase64);
        emit({ event: 'recovered', epoch: step.epoch });
        return;
      case 'renew': {
        const { identity, deviceKey } = who;
        const asking = { dataDir, identity, deviceKey, agentVersion: '1.0.0', nowMs: Date.now(), fetch };
        who = { identity: await renewCertificate(asking), deviceKey };
        emit({ event: 'renewed', certificate: who.identity.grant.identity.certificate });
        return;
      }
    }
  }

  async function examined(atStep: number): Promise<void> {
    do await settled();
    while (!(await now().examine(atStep)));
  }

  await launch();
  /** As a local application would: probation needs requests. */
  const application = setInterval(() => {
    if (!now().serves()) return;
    now()
      .infer()
      .catch((error: unknown) => {
        emit({ event: 'incident', code: 'THROWN', what: error instanceof Error ? error.message : String(error) });
      });
  }, REQUEST_EVERY_MS);
  try {
    await examined(0);
    for (const [index, step] of steps.entries()) {
      onStep(index + 1);
      await perform(step, index + 1).catch((error: unknown) => {
        emit({ event: 'step-failed', step: index + 1, error: error instanceof Error ? error.message : String(error) });
      });
      await examined(index + 1);
    }
  } finally {
    clearInterval(application);
  }
  await now().close();
}

/**
 * For how long this process could have run and got no processor, in all (Linux, Documentation/scheduler/sched-stats.rst); 0 where the system does not
 * say. A busy machine is no fault of the device.
 */
function starvedMs(): number {
  if (!existsSync(SCHEDULER_STATISTICS)) return 0;
  const [, waitedNs = '0'] = readFileSync(SCHEDULER_STATISTICS, 'utf8').split(' ');
  return Number(waitedNs) / 1e6;
}
const SCHEDULER_STATISTICS = '/proc/self/schedstat';
