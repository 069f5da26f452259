import type { Clock } from '../host/index.js';
import { tooSlow } from './blame.js';

/** Silence that is borne before a first byte, and what a mirror may fall behind its rate. Real time. */
export const GRACE_MS = 10_000;

export interface Patience {
  readonly name: string;
  readonly minBytesPerSecond: number;
  readonly graceMs?: number | undefined;
  readonly monotonic?: Clock['monotonic'];
}

/**
 * Passes on what comes, as long as it comes at the rate (docs/protocol.md, section 13, step 5). Only the time in which the source is waited for counts, not
 * that in which the consumer is busy. So a source that is silent, slow, or sends what nobody asked for costs at most the grace, and the time that
 * its bytes were worth.
 *
 * @throws SourceError MIRROR_SLOW; what the source throws
 */
export async function* withPatience(
  parts: AsyncIterable<Uint8Array>,
  { name, minBytesPerSecond, graceMs = GRACE_MS, monotonic = () => performance.now() }: Patience,
): AsyncGenerator<Uint8Array> {
  const source = parts[Symbol.asyncIterator]();
  let creditMs = graceMs;
  try {
    for (;;) {
      const sinceMs = monotonic();
      const next = await inTime(source.next(), creditMs, () => tooSlow(name, minBytesPerSecond));
      creditMs -= monotonic() - sinceMs;
      if (next.done === true) return;
      yield next.value;
      creditMs = Math.min(graceMs, creditMs + (next.value.length / minBytesPerSecond) * 1000);
    }
  } finally {
    // Not waited for: a generator that hangs in a read returns only when that read does.
    void source.return?.().catch(() => undefined);
  }
}

export async function inTime<Value>(work: Promise<Value>, limitMs: number, error: () => Error): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(error()), Math.max(0, limitMs));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
    work.catch(() => undefined);
  }
}
