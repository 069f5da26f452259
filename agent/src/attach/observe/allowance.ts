import type { Clock } from '../../host/clock.js';
import { AttachError } from '../errors.js';
import type { Share, SharedLimit } from './rate-limit.js';

/** Of all connections together. */
export interface ObserveLimits {
  /** Observed inferences and labels. */
  readonly observations: SharedLimit;
  /** Bytes of rows that are kept of them. */
  readonly rowBytes: SharedLimit;
  /** The supervisor has not taken for long what was observed. */
  readonly isCongested: () => boolean;
}

/** A client that sends too fast is told so this often. */
const COMPLAINT_INTERVAL_MS = 1_000;

/** What one connection may have observed; counts what is beyond it. */
export class Allowance {
  readonly #observations: Share;
  readonly #rowBytes: Share;
  readonly #isCongested: () => boolean;
  readonly #clock: Clock;
  /** Not taken, and counted without their rows, since the last complaint. */
  #dropped = 0;
  #bared = 0;
  #complainedAtMs = -Infinity;

  constructor({ observations, rowBytes, isCongested }: ObserveLimits, clock: Clock) {
    this.#observations = observations.join();
    this.#rowBytes = rowBytes.join();
    this.#isCongested = isCongested;
    this.#clock = clock;
  }

  mayCount(): boolean {
    const hasRoom = !this.#isCongested() && this.#observations.take();
    if (!hasRoom) this.#dropped += 1;
    return hasRoom;
  }

  mayKeepRows(bytes: number): boolean {
    const hasRoom = bytes === 0 || this.#rowBytes.take(bytes);
    if (!hasRoom) this.#bared += 1;
    return hasRoom;
  }

  /** Undefined where there is none, or one was made within the last second and this is not the last. */
  complaint({ isLast = false } = {}): AttachError | undefined {
    if (this.#dropped + this.#bared === 0) return undefined;
    const nowMs = this.#clock.monotonic();
    if (!isLast && nowMs - this.#complainedAtMs < COMPLAINT_INTERVAL_MS) return undefined;
    this.#complainedAtMs = nowMs;
    const what = [
      ...(this.#dropped > 0 ? [`${this.#dropped} observations were not taken`] : []),
      ...(this.#bared > 0 ? [`${this.#bared} were counted without their rows`] : []),
    ];
    this.#dropped = 0;
    this.#bared = 0;
    return tooFast(`${what.join(', ')}: too many came in a second.`);
  }

  leave(): void {
    this.#observations.leave();
    this.#rowBytes.leave();
  }
}

export const tooFast = (what: string): AttachError =>
  new AttachError('OBSERVE_TOO_FAST', what, {
    remedy:
      'Send fewer and smaller messages, wait for the answers to labels, or raise attach.maxObservationsPerSecond.',
  });
