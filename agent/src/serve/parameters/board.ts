import type { Digest, ModelName, Version } from '@drover/shared/ids';
import { satisfiesRange } from '@drover/shared/manifest';
import type { ServedParameters } from '../../update/ports.js';

/** What an application refused. */
export interface Rejection {
  /** Of the release of parameters. */
  readonly digest: Digest;
  readonly reason: string;
}

interface Entry {
  readonly parameters: ServedParameters;
  /** The answer for the release that was asked about last: requests ask thousands of times a second. */
  fits?: { readonly version: Version; readonly holds: boolean };
  rejection?: Rejection;
}

/** The parameters of each model, and whether they are in force for the release of it that serves. Replaced whole, never changed. */
export class ParameterBoard {
  readonly #entries = new Map<string, Entry>();

  set(model: ModelName, parameters: ServedParameters | undefined): void {
    if (parameters) this.#entries.set(model, { parameters });
    else this.#entries.delete(model);
  }

  all(): ServedParameters[] {
    return [...this.#entries.values()].map(({ parameters }) => parameters);
  }

  /** `version` of the model that serves; undefined where none does. */
  inForce(model: string, version: Version | undefined): ServedParameters | undefined {
    const entry = this.#entries.get(model);
    if (!entry || version === undefined) return undefined;
    if (entry.fits?.version !== version)
      entry.fits = { version, holds: satisfiesRange(version, entry.parameters.compatible) };
    return entry.fits.holds ? entry.parameters : undefined;
  }

  get(model: ModelName): ServedParameters | undefined {
    return this.#entries.get(model)?.parameters;
  }

  /**
   * Forgotten with the next parameters of the model. A word about others than the present ones comes `too-late` and changes nothing; an application
   * that says it over and over is told nothing new.
   */
  reject(model: string, rejection: Rejection): 'first' | 'again' | 'too-late' {
    const entry = this.#entries.get(model);
    if (entry?.parameters.release.digest !== rejection.digest) return 'too-late';
    const order = entry.rejection ? 'again' : 'first';
    entry.rejection ??= rejection;
    return order;
  }

  rejection(model: string): Rejection | undefined {
    return this.#entries.get(model)?.rejection;
  }
}
