import type { Digest } from '@drover/shared/ids';

interface Statement {
  readonly digest: Digest;
  /** Later ones have higher numbers. */
  readonly order: number;
}

/**
 * Who says what an application has loaded: each of its connections, and its health check. An application may be several processes; it has loaded
 * something when all of them have.
 */
export class Voices {
  readonly #statements = new Map<string, Statement>();
  #order = 0;

  /** What is said from now on has a higher number. */
  get now(): number {
    return this.#order;
  }

  say(voice: string, digest: Digest): void {
    this.#order += 1;
    this.#statements.set(voice, { digest, order: this.#order });
  }

  /** @returns whether it had said something */
  fallSilent(voice: string): boolean {
    return this.#statements.delete(voice);
  }

  /** The process that they came through has ended. */
  forgetAll(): void {
    this.#statements.clear();
  }

  /** Do all say this, and have said so since? False where nobody says anything. */
  agree(digest: Digest, since: number): boolean {
    const statements = [...this.#statements.values()];
    return statements.length > 0 && statements.every((each) => each.digest === digest && each.order > since);
  }

  /** What is said, for an error. */
  describe(): string {
    const said = new Set([...this.#statements.values()].map(({ digest }) => digest));
    return said.size === 0 ? 'it says nothing' : `it says ${[...said].join(' and ')}`;
  }

  get isSilent(): boolean {
    return this.#statements.size === 0;
  }
}
