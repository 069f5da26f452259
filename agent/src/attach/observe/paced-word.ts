import type { Said } from './process-messages.js';

const PACE_MS = 100;

/**
 * Passes on what one connection says of its model: at once, and when it says more within 100 ms the newest of each kind after them. What decides is the last
 * word, so that one that repeats itself without end reaches nobody with it but this process.
 */
export class PacedWord {
  readonly #pass: (said: Said) => void;
  readonly #waiting = new Map<Said['what'], Said>();
  #pause: NodeJS.Timeout | undefined;

  constructor(pass: (said: Said) => void) {
    this.#pass = pass;
  }

  say(said: Said): void {
    // Behind what was said before it.
    this.#waiting.delete(said.what);
    this.#waiting.set(said.what, said);
    if (this.#pause === undefined) this.#passOn();
  }

  /** Its last word. What waits goes before it. */
  end(said: Said): void {
    this.say(said);
    clearTimeout(this.#pause);
    this.#passAll();
  }

  #passOn(): void {
    this.#pause = undefined;
    if (this.#waiting.size === 0) return;
    this.#passAll();
    this.#pause = setTimeout(() => this.#passOn(), PACE_MS);
  }

  #passAll(): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    waiting.forEach(this.#pass);
  }
}
