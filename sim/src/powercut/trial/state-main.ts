import { live } from '../../chaos/device/life.js';
import type { LifeEvent, LifePlan } from '../../chaos/device/plan.js';
import type { StateMessage } from './state-process.js';

/** Shorter than for a process that has yet to load: a trial of a missing sync waits for it to the end. */
const SETTLE_TIMEOUT_MS = 10_000;

const tell = (message: StateMessage): void => void process.send?.(message);
const emit = (event: LifeEvent): void => tell({ kind: 'event', event });

process.on('message', (plan: LifePlan) => {
  const { device, steps } = plan;
  const untold = { onStep: () => undefined, onAgent: () => undefined };
  live({ device, steps, emit, settleTimeoutMs: SETTLE_TIMEOUT_MS, ...untold }).then(
    () => emit({ event: 'ended' }),
    (error: unknown) =>
      tell({ kind: 'failed', error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
