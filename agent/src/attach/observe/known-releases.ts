import type { ModelName } from '@drover/shared/ids';
import { InputChecker } from '@drover/shared/input-contract';
import type { InstalledModel } from '../../update/ports.js';
import type { ExpectedReleases } from './process-messages.js';

/** A release that an application may have loaded. */
export interface KnownRelease {
  readonly installed: InstalledModel;
  /** Of a release with a contract for its inputs. */
  readonly inputChecker: InputChecker | undefined;
}

export interface KnownModel {
  /** Of the link. */
  readonly path: string;
  /** The one that the link leads to first, then what it replaced. */
  readonly releases: readonly KnownRelease[];
}

/** What the applications of this device may have loaded, by the word of the supervisor. */
export class KnownReleases {
  readonly #models = new Map<ModelName, KnownModel>();

  expect({ model, path, releases }: ExpectedReleases): void {
    const before = this.of(model)?.releases ?? [];
    // One that stays keeps its checker: the windows of rules about a share live in it.
    const known = releases.map(
      (installed) => before.find((each) => isSame(each.installed, installed)) ?? toKnown(installed),
    );
    this.#models.set(model, { path, releases: known });
  }

  /** Undefined where no application is attached for the model. */
  of(model: ModelName): KnownModel | undefined {
    return this.#models.get(model);
  }
}

function toKnown(installed: InstalledModel): KnownRelease {
  const { inputs } = installed.manifest.contract;
  return { installed, inputChecker: inputs && new InputChecker(inputs, installed.variant.signature.inputs) };
}

const isSame = (a: InstalledModel, b: InstalledModel): boolean =>
  a.release.digest === b.release.digest && a.loaded === b.loaded;
