import type { HttpFetch } from '../link/index.js';
import { backoffMs, type Clock } from '../host/index.js';
import { httpReleaseSource } from '../update/fetch.js';
import type { SourceCode, SourceError } from './errors.js';
import type { Origin } from './origin.js';

export interface MirrorOptions {
  /** Where it has the paths of docs/protocol.md, sections 8 and 10; without a trailing slash. */
  readonly url: string;
  readonly minBytesPerSecond: number;
  readonly fetch: HttpFetch;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly onFailed: (error: SourceError) => void;
  readonly graceMs?: number;
}

export interface MirrorStatus {
  readonly url: string;
  readonly bytesServed: number;
  /** The reason of its last failure, while it rests. */
  readonly resting?: { readonly code: SourceCode; readonly what: string; readonly forMs: number };
}

export interface Mirror extends Origin {
  readonly url: string;
  status(bytesServed: number): MirrorStatus;
}

/** Silence is judged by its reader (patience.ts), which leaves out the time in which the device itself is busy. */
const HANGING_MS = 3_600_000;

/** A mirror that is down may be back soon; one that lied has to be looked at by somebody. */
const RESTS: Readonly<Record<SourceCode, { firstMs: number; maxMs: number }>> = {
  MIRROR_UNREACHABLE: { firstMs: 60_000, maxMs: 3_600_000 },
  MIRROR_SLOW: { firstMs: 60_000, maxMs: 3_600_000 },
  MIRROR_REFUSED: { firstMs: 60_000, maxMs: 3_600_000 },
  MIRROR_STALE: { firstMs: 60_000, maxMs: 3_600_000 },
  MIRROR_WRONG: { firstMs: 3_600_000, maxMs: 24 * 3_600_000 },
};

/** One mirror of the site. It gets no credential of this device but its certificate, and after a failure it is left alone for a while (docs/protocol.md, section 13, step 6). */
export function openMirror({ url, minBytesPerSecond, clock, onFailed, fetch, graceMs }: MirrorOptions): Mirror {
  const name = `mirror ${url}`;
  let failures = 0;
  let last: SourceError | undefined;
  let restsUntilMs = 0;
  return {
    url,
    name,
    minBytesPerSecond,
    graceMs,
    source: httpReleaseSource({ controlPlaneUrl: url, fetch, idleTimeoutMs: HANGING_MS }),
    mayBeAsked: () => clock.monotonic() >= restsUntilMs,
    failed(error) {
      restsUntilMs = clock.monotonic() + backoffMs(RESTS[error.code], failures);
      failures += 1;
      // Once for each reason, until it works again: a mirror that is down for a week is one line and not a thousand.
      const isNews = last?.code !== error.code;
      last = error;
      if (isNews) onFailed(error);
    },
    succeeded() {
      failures = 0;
      last = undefined;
    },
    status(bytesServed) {
      const forMs = Math.ceil(restsUntilMs - clock.monotonic());
      return {
        url,
        bytesServed,
        ...(last && forMs > 0 ? { resting: { code: last.code, what: last.message, forMs } } : {}),
      };
    },
  };
}
