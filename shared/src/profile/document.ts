import { Type, type Static } from 'typebox';
import { formatProblems, validate } from '../validation/index.js';
import { ProfileError } from './errors.js';
import { KllDocument, KllSketch } from './kll.js';
import type { FeatureProfile, Profile } from './profile.js';

export const PROFILE_FORMAT = 'drover.profile/1';

const strict = { additionalProperties: false } as const;
const count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const extremum = Type.Union([Type.Number(), Type.Null()]);

/** A profile as JSON: the file in a release, the message from a device. */
export const ProfileDocument = Type.Object(
  {
    format: Type.Literal(PROFILE_FORMAT),
    count,
    features: Type.Array(
      Type.Object(
        {
          name: Type.String({ minLength: 1, maxLength: 200 }),
          count,
          missing: count,
          mean: Type.Number(),
          m2: Type.Number({ minimum: 0 }),
          min: extremum,
          max: extremum,
          sketch: KllDocument,
        },
        strict,
      ),
      { minItems: 1, maxItems: 10_000 },
    ),
    predictions: Type.Optional(
      Type.Object(
        {
          labels: Type.Array(Type.String({ minLength: 1, maxLength: 100 }), { minItems: 2, maxItems: 100_000 }),
          counts: Type.Array(count, { minItems: 2, maxItems: 100_000 }),
        },
        strict,
      ),
    ),
    confidence: Type.Optional(KllDocument),
  },
  strict,
);
export type ProfileDocument = Static<typeof ProfileDocument>;

export function toJson(profile: Profile): ProfileDocument {
  return {
    format: PROFILE_FORMAT,
    count: profile.count,
    features: profile.features.map((feature) => ({ ...feature, sketch: feature.sketch.toJson() })),
    ...(profile.predictions && {
      predictions: { labels: [...profile.predictions.labels], counts: [...profile.predictions.counts] },
    }),
    ...(profile.confidence && { confidence: profile.confidence.toJson() }),
  };
}

/**
 * @param json anything: the parsed JSON of a file or message
 * @throws ProfileError PROFILE_INVALID naming all bad paths, or what contradicts what
 */
export function parseProfile(json: unknown): Profile {
  const document = validate(ProfileDocument, json, (problems) => invalid(formatProblems(problems)));
  const names = new Set(document.features.map(({ name }) => name));
  if (names.size !== document.features.length) throw invalid('two features have the same name');
  const features = document.features.map((feature, index) =>
    parseFeature(feature, document.count, `/features/${index}`),
  );
  const { predictions, confidence } = document;
  if (predictions && predictions.labels.length !== predictions.counts.length)
    throw invalid('/predictions has not one count per label');
  if (predictions && predictions.counts.reduce((sum, each) => sum + each, 0) > document.count) {
    throw invalid('/predictions counts more than there are rows');
  }
  const sketch = confidence && KllSketch.fromJson(confidence);
  if (sketch && sketch.count > document.count) throw invalid('/confidence counts more than there are rows');
  return {
    count: document.count,
    features,
    ...(predictions && { predictions }),
    ...(sketch && { confidence: sketch }),
  };
}

function parseFeature(feature: ProfileDocument['features'][number], rows: number, path: string): FeatureProfile {
  const sketch = KllSketch.fromJson(feature.sketch);
  if (sketch.count !== feature.count)
    throw invalid(`${path}/sketch counts ${sketch.count}, the feature ${feature.count}`);
  if (feature.count + feature.missing !== rows)
    throw invalid(`${path} count and missing do not add up to ${rows} rows`);
  const { min, max } = feature;
  const ordered = feature.count === 0 ? min === null && max === null : min !== null && max !== null && min <= max;
  if (!ordered) throw invalid(`${path} min and max do not fit`);
  return { ...feature, sketch };
}

function invalid(why: string): ProfileError {
  return new ProfileError('PROFILE_INVALID', `The profile does not follow ${PROFILE_FORMAT}: ${why}.`, {
    remedy: 'Build the profile again from the data; publish the release again if it is part of one.',
  });
}
