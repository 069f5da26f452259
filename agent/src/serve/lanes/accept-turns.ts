/** What a socket is, as far as it matters here. */
export interface Connection {
  once(event: 'close', listener: () => void): unknown;
}

/** So many connections more than the thread with the fewest, and a thread lets others go first. */
const MAX_AHEAD = 2;
/** Longer than another takes to wake up; a request that waits on this thread hardly feels it. */
const TURN_MS = 0.2;
/** Counts what is accepted by all threads; one cell for each of them follows. */
const ACCEPTED = 0;

/**
 * Threads that accept from the same queue. A thread takes all that it finds there before it does anything else, so that of connections which come at once, one would often get every one. With this, one that has
 * more than another pauses after it has taken one.
 */
export class AcceptTurns {
  readonly shared: SharedArrayBuffer;
  readonly #cells: Int32Array;
  readonly #own: number;

  /** @param thread from 0; each has its own number */
  constructor(shared: SharedArrayBuffer, thread: number) {
    this.shared = shared;
    this.#cells = new Int32Array(shared);
    this.#own = ACCEPTED + 1 + thread;
  }

  static among(threads: number): AcceptTurns {
    return new AcceptTurns(new SharedArrayBuffer((1 + threads) * Int32Array.BYTES_PER_ELEMENT), 0);
  }

  /** @returns whether it has let others go first; then it has blocked this thread for `TURN_MS` at most */
  taken(connection: Connection): boolean {
    const cells = this.#cells;
    Atomics.add(cells, this.#own, 1);
    connection.once('close', () => Atomics.sub(cells, this.#own, 1));
    const accepted = Atomics.add(cells, ACCEPTED, 1) + 1;
    Atomics.notify(cells, ACCEPTED);
    const fewest = cells.subarray(ACCEPTED + 1).reduce((least, connections) => Math.min(least, connections), Infinity);
    if ((cells[this.#own] ?? 0) - fewest < MAX_AHEAD) return false;
    Atomics.wait(cells, ACCEPTED, accepted, TURN_MS);
    return true;
  }
}
