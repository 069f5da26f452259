import { raceAbort } from '../host/index.js';
import { UpdateError } from './errors.js';

/** How long a work that was told to stop may take to do so, before it is left to itself. */
const GRACE_MS = 1_000;

/**
 * Carries out `work` for at most `deadlineMs` of real time, whatever clock the device keeps: what hangs is real computation or a real process.
 * A work that does not heed its signal is left to itself.
 *
 * @throws UpdateError UPDATE_STEP_TIMEOUT; the parent signal's reason; what the work throws
 */
export async function withDeadline<Result>(
  { what, deadlineMs, signal: parent }: { what: string; deadlineMs: number | undefined; signal: AbortSignal },
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  if (deadlineMs === undefined) return raceWithGrace(work(parent), parent);
  const expiry = new AbortController();
  const timer = setTimeout(() => {
    expiry.abort(
      new UpdateError('UPDATE_STEP_TIMEOUT', `${what} did not end within ${deadlineMs} ms.`, {
        remedy:
          'Look at the log of the device for what hung. The device goes on with its last release; order this one again when mended.',
      }),
    );
  }, deadlineMs);
  const signal = AbortSignal.any([parent, expiry.signal]);
  try {
    return await raceWithGrace(work(signal), signal);
  } finally {
    clearTimeout(timer);
  }
}

/** Two works on the same files must not overlap: the one that was stopped gets time to let go of them. */
async function raceWithGrace<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  try {
    return await raceAbort(work, signal);
  } catch (error) {
    if (signal.aborted) await settledWithin(work, GRACE_MS);
    throw error;
  }
}

function settledWithin(work: Promise<unknown>, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    const settle = () => {
      clearTimeout(timer);
      resolve();
    };
    work.then(settle, settle);
  });
}
