import type { Clock } from '../host/index.js';

export interface EveryOptions {
  readonly name: string;
  readonly intervalMs: number;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly act: () => Promise<void>;
  /** One failed turn does not end the loop; the same complaint again and again is told once until it changes. */
  readonly onError: (error: unknown) => void;
}

/** Acts now and then again, `intervalMs` after the last turn ended; turns never overlap. Returns the way to stop, which waits for the turn under way. */
export function every({ intervalMs, clock, act, onError }: EveryOptions): () => Promise<void> {
  const stopped = new AbortController();
  let lastComplaint: string | undefined;
  const loop = (async () => {
    while (!stopped.signal.aborted) {
      try {
        await act();
        lastComplaint = undefined;
      } catch (error) {
        const complaint = error instanceof Error ? error.message : String(error);
        if (complaint !== lastComplaint) onError(error);
        lastComplaint = complaint;
      }
      await clock.sleep(intervalMs, stopped.signal).catch((error: unknown) => {
        if (!stopped.signal.aborted) throw error;
      });
    }
  })();
  return async () => {
    stopped.abort();
    await loop;
  };
}
