import { ProfileError } from './errors.js';
import { DEFAULT_SKETCH_K, KllSketch } from './kll.js';

/** One input feature: `mean` and `m2` (sum of squared deviations, Welford 1962) over `count` finite values. */
export interface FeatureProfile {
  readonly name: string;
  /** Finite values seen. */
  readonly count: number;
  /** Values that were NaN or infinite: a dead sensor, not a number to average. */
  readonly missing: number;
  readonly mean: number;
  readonly m2: number;
  /** Null while `count` is 0. */
  readonly min: number | null;
  readonly max: number | null;
  readonly sketch: KllSketch;
}

/** What was seen, in a form that merges: a reference profile ships signed in a release, a window profile comes from a device. */
export interface Profile {
  /** Rows seen; for each feature `count + missing` is this. */
  readonly count: number;
  readonly features: readonly FeatureProfile[];
  /** How often each class was predicted; `counts` is parallel to `labels`. */
  readonly predictions?: { readonly labels: readonly string[]; readonly counts: readonly number[] };
  /** Confidence of the predicted class. */
  readonly confidence?: KllSketch;
}

export interface ProfileBuilderOptions {
  /** One name per element of a row, in its order. */
  readonly features: readonly string[];
  /** Class names; gives the profile its `predictions`. */
  readonly labels?: readonly string[];
  /** Gives the profile its `confidence`. */
  readonly confidence?: boolean;
  readonly k?: number;
  readonly seed?: number;
}

type MutableFeature = { -readonly [Key in keyof FeatureProfile]: FeatureProfile[Key] };

/** Collects rows into a profile. Time per row: O(features); memory: O(features · k). */
export class ProfileBuilder {
  readonly #features: MutableFeature[];
  readonly #predictions: { readonly labels: readonly string[]; readonly counts: number[] } | undefined;
  readonly #confidence: KllSketch | undefined;
  #count = 0;

  constructor({ features, labels, confidence = false, k = DEFAULT_SKETCH_K, seed = 0 }: ProfileBuilderOptions) {
    this.#features = features.map((name, index) => ({
      name,
      count: 0,
      missing: 0,
      mean: 0,
      m2: 0,
      min: null,
      max: null,
      sketch: new KllSketch({ k, seed: seed + index }),
    }));
    this.#predictions = labels && { labels: [...labels], counts: labels.map(() => 0) };
    this.#confidence = confidence ? new KllSketch({ k, seed: seed + features.length }) : undefined;
  }

  get count(): number {
    return this.#count;
  }

  /**
   * @param row one value per feature; NaN and infinities count as missing
   * @param outcome `prediction`: index into the labels; `confidence`: of that class, left out of the sketch when not finite
   * @throws ProfileError PROFILE_MISMATCH when the row or the index does not fit; nothing is counted then
   */
  add(row: Float32Array, outcome: { readonly prediction?: number; readonly confidence?: number } = {}): void {
    if (row.length !== this.#features.length) {
      throw mismatch(`A row has ${row.length} values where the profile has ${this.#features.length} features.`);
    }
    const { prediction, confidence } = outcome;
    if (prediction !== undefined && this.#predictions?.counts[prediction] === undefined) {
      throw mismatch(
        `Class ${prediction} was predicted where the profile has ${this.#predictions?.counts.length ?? 0} labels.`,
      );
    }
    this.#count += 1;
    this.#features.forEach((feature, index) => addValue(feature, row[index] ?? Number.NaN));
    if (prediction !== undefined && this.#predictions) {
      this.#predictions.counts[prediction] = (this.#predictions.counts[prediction] ?? 0) + 1;
    }
    if (confidence !== undefined && Number.isFinite(confidence)) this.#confidence?.add(confidence);
  }

  /** A snapshot; the builder goes on. */
  build(): Profile {
    return {
      count: this.#count,
      features: this.#features.map((feature) => ({ ...feature, sketch: feature.sketch.copy() })),
      ...(this.#predictions && {
        predictions: { labels: this.#predictions.labels, counts: [...this.#predictions.counts] },
      }),
      ...(this.#confidence && { confidence: this.#confidence.copy() }),
    };
  }
}

function addValue(feature: MutableFeature, value: number): void {
  if (!Number.isFinite(value)) {
    feature.missing += 1;
    return;
  }
  feature.count += 1;
  const deviation = value - feature.mean;
  feature.mean += deviation / feature.count;
  feature.m2 += deviation * (value - feature.mean);
  feature.min = feature.min === null ? value : Math.min(feature.min, value);
  feature.max = feature.max === null ? value : Math.max(feature.max, value);
  feature.sketch.add(value);
}

/**
 * The profile of all rows together; counts are exact, quantiles keep the sketch's rank error.
 *
 * @throws ProfileError PROFILE_MISMATCH when the features, labels, k or the presence of predictions and confidence differ
 */
export function mergeProfiles(first: Profile, ...others: readonly Profile[]): Profile {
  return others.reduce(mergeTwo, first);
}

function mergeTwo(a: Profile, b: Profile): Profile {
  const names = (profile: Profile): string => JSON.stringify(profile.features.map(({ name }) => name));
  if (names(a) !== names(b))
    throw mismatch(`The profiles have different features: ${names(a).slice(0, 200)} and ${names(b).slice(0, 200)}.`);
  if (JSON.stringify(a.predictions?.labels) !== JSON.stringify(b.predictions?.labels))
    throw mismatch('The profiles have different labels.');
  if ((a.confidence === undefined) !== (b.confidence === undefined))
    throw mismatch('Only one of the profiles has confidences.');
  return {
    count: a.count + b.count,
    features: a.features.map((feature, index) => mergeFeatures(feature, b.features[index] as FeatureProfile)),
    ...(a.predictions &&
      b.predictions && {
        predictions: {
          labels: a.predictions.labels,
          counts: a.predictions.counts.map((count, index) => count + (b.predictions?.counts[index] ?? 0)),
        },
      }),
    ...(a.confidence && b.confidence && { confidence: a.confidence.merge(b.confidence) }),
  };
}

/** Mean and m2 by Chan, Golub & LeVeque 1979. */
function mergeFeatures(a: FeatureProfile, b: FeatureProfile): FeatureProfile {
  const count = a.count + b.count;
  const deviation = b.mean - a.mean;
  const share = count === 0 ? 0 : b.count / count;
  return {
    name: a.name,
    count,
    missing: a.missing + b.missing,
    mean: a.mean + deviation * share,
    m2: a.m2 + b.m2 + deviation * deviation * a.count * share,
    min: extreme(Math.min, a.min, b.min),
    max: extreme(Math.max, a.max, b.max),
    sketch: a.sketch.merge(b.sketch),
  };
}

function extreme(choose: (a: number, b: number) => number, a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : choose(a, b);
}

function mismatch(what: string): ProfileError {
  return new ProfileError('PROFILE_MISMATCH', what, {
    remedy: 'Use profiles and rows of the same model and preprocessing.',
  });
}
