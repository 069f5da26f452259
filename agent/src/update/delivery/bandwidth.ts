import type { Clock } from '../../host/index.js';
import { UpdateError } from '../errors.js';

export interface BandwidthLimits {
  /** Hard cap over all downloads of the device; undefined for none. */
  readonly maxBytesPerSecond?: number | undefined;
  /** A server that gives less, measured while the device waits for it, is given up for now. */
  readonly minBytesPerSecond: number;
}

export const DEFAULT_LIMITS: BandwidthLimits = { minBytesPerSecond: 1024 };

/** Later ones go first. A way back is what somebody waits for; what is small is soon done. */
export const PRIORITIES = ['large', 'small', 'revert'] as const;
export type Priority = (typeof PRIORITIES)[number];

/** One attempt to download something. It holds its place in the order until `leave`. */
export interface Lane {
  /** Resolves when these bytes, which were received, may be followed by more. */
  take(bytes: number, signal: AbortSignal): Promise<void>;
  leave(): void;
}

/** Bytes that may come at once, where a cap is set. Small, since the buffers of the sockets come on top. */
const BURST_BYTES = 64 * 1024;
/** How often a lane that has to wait looks whether it still has to. */
const LOOK_EVERY_MS = 50;

/**
 * Shares the link of a device between its downloads: a token bucket for all, and the highest priority first.
 *
 * INVARIANT: within any time t no more than `maxBytesPerSecond` · t + 64 KiB + one network chunk are taken.
 */
export class Bandwidth {
  readonly limits: BandwidthLimits;
  readonly #clock: Clock;
  readonly #lanes = new Set<{ readonly rank: number }>();
  #tokens = BURST_BYTES;
  #filledAtMs: number;

  constructor(limits: BandwidthLimits, clock: Clock) {
    this.limits = limits;
    this.#clock = clock;
    this.#filledAtMs = clock.monotonic();
  }

  enter(priority: Priority): Lane {
    const lane = { rank: PRIORITIES.indexOf(priority) };
    this.#lanes.add(lane);
    return {
      take: (bytes, signal) => this.#take(lane, bytes, signal),
      leave: () => void this.#lanes.delete(lane),
    };
  }

  async #take(lane: { readonly rank: number }, bytes: number, signal: AbortSignal): Promise<void> {
    while ([...this.#lanes].some(({ rank }) => rank > lane.rank)) await this.#clock.sleep(LOOK_EVERY_MS, signal);
    const { maxBytesPerSecond } = this.limits;
    if (maxBytesPerSecond === undefined) return;
    this.#fill(maxBytesPerSecond);
    // Into debt: the bytes are here already, and who comes next waits for it to be paid.
    this.#tokens -= bytes;
    while (this.#tokens < 0) {
      await this.#clock.sleep(Math.ceil((-this.#tokens / maxBytesPerSecond) * 1000), signal);
      this.#fill(maxBytesPerSecond);
    }
  }

  #fill(maxBytesPerSecond: number): void {
    const nowMs = this.#clock.monotonic();
    this.#tokens = Math.min(BURST_BYTES, this.#tokens + ((nowMs - this.#filledAtMs) / 1000) * maxBytesPerSecond);
    this.#filledAtMs = nowMs;
  }
}

/** The attack "slow retrieval" (TUF, section 1.5.2) and a link that is as good as dead look alike. */
const WINDOW_MS = 60_000;

/** Judges a server by what it gives in the time in which it is waited for; what the device itself holds back does not count. */
export class RateWatch {
  readonly #minBytesPerSecond: number;
  #bytes = 0;
  #waitedMs = 0;

  constructor(minBytesPerSecond: number) {
    this.#minBytesPerSecond = minBytesPerSecond;
  }

  /** @throws UpdateError FETCH_TOO_SLOW */
  received(bytes: number, waitedMs: number): void {
    this.#bytes += bytes;
    this.#waitedMs += waitedMs;
    if (this.#waitedMs < WINDOW_MS) return;
    const bytesPerSecond = Math.round((this.#bytes / this.#waitedMs) * 1000);
    this.#bytes = 0;
    this.#waitedMs = 0;
    if (bytesPerSecond >= this.#minBytesPerSecond) return;
    throw new UpdateError(
      'FETCH_TOO_SLOW',
      `The server gave ${bytesPerSecond} bytes per second; at least ${this.#minBytesPerSecond} are expected.`,
      {
        remedy:
          'The device tries again later by itself. If the link is as slow as that, lower "download.minBytesPerSecond" of the agent; else look for who slows it down.',
      },
    );
  }
}

/** Passes on what a server sends, at the pace that the lane allows. @throws UpdateError FETCH_TOO_SLOW */
export async function* paced(
  chunks: AsyncIterable<Uint8Array>,
  { lane, watch, signal }: { lane: Lane; watch: RateWatch; signal: AbortSignal },
): AsyncGenerator<Uint8Array> {
  let waitingSinceMs = performance.now();
  for await (const chunk of chunks) {
    watch.received(chunk.length, performance.now() - waitingSinceMs);
    await lane.take(chunk.length, signal);
    yield chunk;
    waitingSinceMs = performance.now();
  }
}
