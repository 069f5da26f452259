import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';

/** Time as a port, so that the simulator can run hours in seconds. */
export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z by this device's wall clock, which may be wrong and may jump. */
  now(): number;
  /** Milliseconds since an arbitrary start; never goes backwards. Durations are differences of this. */
  monotonic(): number;
  /** Rejects with the signal's reason when aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  async sleep(ms, signal) {
    try {
      await delay(ms, undefined, signal ? { signal } : {});
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    }
  },
};
