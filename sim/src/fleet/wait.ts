import { setTimeout as delay } from 'node:timers/promises';
import { SimulationError } from './errors.js';

export interface WaitOptions {
  /** Completes "waited in vain for …". */
  readonly what: string;
  readonly timeoutMs: number;
  readonly everyMs?: number;
  readonly signal: AbortSignal;
  /** What is known now, for the error. */
  readonly state?: () => string;
}

/** Asks until the answer is not undefined. */
export async function until<Answer>(
  ask: () => Promise<Answer | undefined> | Answer | undefined,
  options: WaitOptions,
): Promise<Answer> {
  const deadline = performance.now() + options.timeoutMs;
  for (;;) {
    options.signal.throwIfAborted();
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > deadline) {
      const state = options.state ? ` Last seen: ${options.state()}.` : '';
      throw new SimulationError(
        'WAITED_IN_VAIN',
        `Waited ${options.timeoutMs / 1000} s in vain for ${options.what}.${state}`,
        {
          remedy:
            'Look at `drover device list` and `drover rollout watch`; a machine under heavy load may need a longer wait.',
        },
      );
    }
    await delay(options.everyMs ?? 200, undefined, { signal: options.signal });
  }
}
