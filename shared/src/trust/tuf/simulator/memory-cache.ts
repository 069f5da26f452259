import type { MetadataCache } from '../ports.js';

/** The power went: nothing after this call happened. */
export class PowerCut extends Error {}

/** A cache in memory whose power can be cut before any of its changes; what was written before stays, as after a restart. */
export class MemoryCache implements MetadataCache {
  readonly entries = new Map<string, Uint8Array>();
  /** Every change, in order: `write NAME` or `remove NAME`. */
  readonly changes: string[] = [];
  #changesLeft = Infinity;

  /** Lets `changes` more writes and removals happen, then throws PowerCut at each. `Infinity` brings the power back. */
  cutAfter(changes: number): void {
    this.#changesLeft = changes;
  }

  read(name: string): Uint8Array | undefined {
    return this.entries.get(name);
  }

  write(name: string, bytes: Uint8Array): void {
    this.#change(`write ${name}`);
    this.entries.set(name, Uint8Array.from(bytes));
  }

  remove(name: string): void {
    if (!this.entries.has(name)) return;
    this.#change(`remove ${name}`);
    this.entries.delete(name);
  }

  #change(change: string): void {
    if (this.#changesLeft <= 0) throw new PowerCut(`The power went before: ${change}`);
    this.#changesLeft--;
    this.changes.push(change);
  }
}
