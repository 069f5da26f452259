import type { Digest } from '@drover/shared/ids';
import { contractFor } from '@drover/shared/manifest';
import type { InstalledModel, SwapOutlook } from '../../update/ports.js';
import { ServeError } from '../errors.js';

export interface SwapFacts {
  readonly candidate: InstalledModel;
  readonly serving: InstalledModel | undefined;
  readonly availableMiB: number;
  /** A device in trouble must be able to go back: then nothing is refused. */
  readonly isWayBack: boolean;
}

/** A loaded model takes about that many times its file: weights, prepacked weights, arena. */
const MEMORY_FACTOR = 3;
/** Left to everything else, so that the kernel need not choose whom to kill. */
const RESERVE_MIB = 32;
const MAX_MEASURED = 64;

/** What models need of memory: as the probe measured it on this device, else as their contract allows it, else by the size of their file. */
export class MemoryNeeds {
  /** By the bytes that were loaded; the oldest is forgotten first. */
  readonly #measuredMiB = new Map<Digest, number>();
  readonly #hardwareClass: string;

  constructor(hardwareClass: string) {
    this.#hardwareClass = hardwareClass;
  }

  measured({ loaded }: InstalledModel, needMiB: number): void {
    this.#measuredMiB.delete(loaded);
    this.#measuredMiB.set(loaded, needMiB);
    for (const oldest of this.#measuredMiB.keys()) {
      if (this.#measuredMiB.size <= MAX_MEASURED) break;
      this.#measuredMiB.delete(oldest);
    }
  }

  of({ loaded, manifest, variant }: InstalledModel): number {
    return (
      this.#measuredMiB.get(loaded) ??
      contractFor(manifest, this.#hardwareClass)?.maxMemoryMiB ??
      (MEMORY_FACTOR * variant.model.bytes) / 1024 ** 2
    );
  }

  /** @throws ServeError MEMORY_INSUFFICIENT where the candidate would not fit even alone */
  plan({ candidate, serving, availableMiB, isWayBack }: SwapFacts): SwapOutlook {
    const needMiB = this.of(candidate);
    const plan = { needMiB, availableMiB };
    if (needMiB + RESERVE_MIB <= availableMiB) return { how: 'beside', ...plan };
    const freedMiB = serving ? this.of(serving) : 0;
    if (!isWayBack && needMiB + RESERVE_MIB > availableMiB + freedMiB)
      throw insufficient(candidate, { ...plan, freedMiB });
    return { how: serving ? 'stop-first' : 'beside', ...plan };
  }
}

function insufficient(
  { model, release }: InstalledModel,
  { needMiB, availableMiB, freedMiB }: Omit<SwapOutlook, 'how'> & { readonly freedMiB: number },
): ServeError {
  const place = freedMiB > 0 ? `, and ${Math.round(freedMiB)} MiB more once the one that serves is stopped` : '';
  return new ServeError(
    'MEMORY_INSUFFICIENT',
    `${model} ${release.version} needs about ${Math.round(needMiB)} MiB; ${Math.round(availableMiB)} MiB are available${place}.`,
    {
      remedy:
        'Free memory on the device (other models, other programs), or publish a smaller variant for this hardware class.',
    },
  );
}
