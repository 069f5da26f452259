import { live } from '../../chaos/device/life.js';
import type { LifeEvent, LifePlan } from '../../chaos/device/plan.js';
import type { StateMessage } from './state-process.js';

const tell = (message: StateMessage): void => void process.send?.(message);
const emit = (event: LifeEvent): void => tell({ kind: 'event', event });

process.on('message', (plan: LifePlan) => {
  live({ device: plan.device, steps: plan.steps, emit, onStep: () => undefined, onAgent: () => undefined }).then(
    () => emit({ event: 'ended' }),
    (error: unknown) =>
      tell({ kind: 'failed', error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
