import { CodedError } from '@drover/shared/coded-error';
import type { Clock } from '../host/index.js';

export interface EveryOptions {
  readonly intervalMs: number;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly act: () => Promise<void>;
  /** One failed turn does not end the loop. Each kind of complaint (its code) is told once until a turn succeeds. Must not throw. */
  readonly onError: (error: unknown) => void;
}

/** A loop that fails turns slower, doubling up to this, so that a broken disk is not asked twice a second for ever. */
const MAX_PAUSE_AFTER_FAILURE_MS = 30_000;

/** Acts now and then again, `intervalMs` after the last turn ended; turns never overlap. Returns the way to stop, which waits for the turn under way. */
export function every({ intervalMs, clock, act, onError }: EveryOptions): () => Promise<void> {
  const stopped = new AbortController();
  const complaints = new Set<string>();
  let failures = 0;
  const turn = async (): Promise<void> => {
    try {
      await act();
      complaints.clear();
      failures = 0;
    } catch (error) {
      failures += 1;
      const kind = kindOf(error);
      if (!complaints.has(kind)) onError(error);
      complaints.add(kind);
    }
  };
  const loop = (async () => {
    while (!stopped.signal.aborted) {
      await turn();
      const pauseMs = Math.max(intervalMs, Math.min(intervalMs * 2 ** failures, MAX_PAUSE_AFTER_FAILURE_MS));
      await clock.sleep(pauseMs, stopped.signal).catch((error: unknown) => {
        if (!stopped.signal.aborted) throw error;
      });
    }
  })();
  return async () => {
    stopped.abort();
    await loop;
  };
}

/** Messages carry figures that differ each time; the code does not. */
function kindOf(error: unknown): string {
  if (error instanceof CodedError) return (error as CodedError).code;
  return error instanceof Error ? error.message : String(error);
}
