import type { Digest } from '@drover/shared/ids';
import type { SourceError } from './errors.js';

/** Who gave which bytes in one update, and who was passed over and why. */
export class Ledger {
  readonly #bytes = new Map<string, number>();
  /** Whose bytes are in what is being put together under a digest. */
  readonly #partsOf = new Map<Digest, Set<string>>();
  readonly #disowned = new Set<string>();
  readonly #refusals = new Map<string, SourceError>();

  add(origin: string, digest: Digest, bytes: number): void {
    this.#bytes.set(origin, (this.#bytes.get(origin) ?? 0) + bytes);
    this.#partsOf.set(digest, (this.#partsOf.get(digest) ?? new Set()).add(origin));
  }

  hasPartIn = (origin: string, digest: Digest): boolean => this.#partsOf.get(digest)?.has(origin) ?? false;
  /** What was there is thrown away; who comes next begins with a clean sheet. */
  forgetParts = (digest: Digest): void => void this.#partsOf.delete(digest);
  disown = (origin: string, digest: Digest): void => void this.#disowned.add(`${origin} ${digest}`);
  isDisowned = (origin: string, digest: Digest): boolean => this.#disowned.has(`${origin} ${digest}`);
  refused = (origin: string, error: SourceError): void => void this.#refusals.set(origin, error);

  /** For the record of the update; empty where all came from the control plane. */
  account(): string[] {
    const refused = [...this.#refusals].map(([origin, { code }]) => `${origin} passed over (${code})`);
    const isPlain = refused.length === 0 && [...this.#bytes.keys()].every((origin) => origin === CONTROL_PLANE);
    return isPlain ? [] : [...[...this.#bytes].map(([origin, bytes]) => `${bytes} bytes from ${origin}`), ...refused];
  }
}

export const CONTROL_PLANE = 'control plane';
