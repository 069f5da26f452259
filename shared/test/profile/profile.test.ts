import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mergeProfiles, parseProfile, ProfileBuilder, toJson, type Profile } from '../../src/profile/index.js';

type Row = readonly [number, number, number];
const value = fc.oneof(
  { weight: 9, arbitrary: fc.float({ min: -1e6, max: 1e6, noNaN: true }) },
  { weight: 1, arbitrary: fc.constant(Number.NaN) },
);
const rows = fc.array(fc.tuple(value, value, fc.integer({ min: 0, max: 1 })), { maxLength: 60 });
const options = { features: ['temperature', 'pressure'], labels: ['ok', 'leak'], confidence: true };

function profileOf(seen: readonly Row[]): Profile {
  const builder = new ProfileBuilder(options);
  for (const [first, second, prediction] of seen) {
    builder.add(Float32Array.of(first, second), { prediction, confidence: 0.5 + prediction / 4 });
  }
  return builder.build();
}

const json = (profile: Profile): Record<string, unknown> =>
  JSON.parse(JSON.stringify(toJson(profile))) as Record<string, unknown>;

describe('when rows are profiled', () => {
  it('gives the moments and extremes of the finite values', () => {
    const profile = profileOf([
      [1, 5, 0],
      [2, Number.NaN, 1],
      [6, Infinity, 1],
    ]);
    expect(profile.count).toBe(3);
    expect(profile.features[0]).toMatchObject({
      name: 'temperature',
      count: 3,
      missing: 0,
      mean: 3,
      m2: 14,
      min: 1,
      max: 6,
    });
    expect(profile.features[1]).toMatchObject({
      name: 'pressure',
      count: 1,
      missing: 2,
      mean: 5,
      m2: 0,
      min: 5,
      max: 5,
    });
    expect(profile.predictions).toEqual({ labels: ['ok', 'leak'], counts: [1, 2] });
    expect(profile.confidence?.count).toBe(3);
  });

  it('is a snapshot: later rows do not change it', () => {
    const builder = new ProfileBuilder(options);
    builder.add(Float32Array.of(1, 2), { prediction: 0 });
    const before = builder.build();
    const stored = json(before);
    builder.add(Float32Array.of(3, 4), { prediction: 1, confidence: 0.9 });
    expect(json(before)).toEqual(stored);
    expect(builder.count).toBe(2);
  });

  it('refuses a row or a class that does not fit, and counts nothing', () => {
    const builder = new ProfileBuilder(options);
    for (const [row, prediction] of [
      [Float32Array.of(1), 0],
      [Float32Array.of(1, 2), 2],
      [Float32Array.of(1, 2), -1],
    ] as const) {
      expect(() => {
        builder.add(row, { prediction });
      }).toThrow(expect.objectContaining({ code: 'PROFILE_MISMATCH' }));
    }
    expect(builder.build().features[0]?.count).toBe(0);
  });
});

describe('when profiles are merged', () => {
  it('says the same as one profile of all rows', () => {
    fc.assert(
      fc.property(rows, rows, (a, b) => {
        const merged = mergeProfiles(profileOf(a), profileOf(b));
        const whole = profileOf([...a, ...b]);
        expect(merged.count).toBe(whole.count);
        expect(merged.predictions).toEqual(whole.predictions);
        merged.features.forEach((feature, index) => {
          const expected = whole.features[index];
          expect(feature).toMatchObject({
            count: expected?.count,
            missing: expected?.missing,
            min: expected?.min,
            max: expected?.max,
          });
          expect(feature.mean).toBeCloseTo(expected?.mean ?? Number.NaN, 4);
          expect(Math.abs(feature.m2 - (expected?.m2 ?? Number.NaN))).toBeLessThanOrEqual(
            1e-9 * (expected?.m2 ?? 0) + 1e-4,
          );
          expect(feature.sketch.distribution()).toEqual(expected?.sketch.distribution());
        });
      }),
    );
  });

  it('refuses profiles of different things', () => {
    const profile = profileOf([[1, 2, 0]]);
    const others = [
      new ProfileBuilder({ ...options, features: ['temperature'] }),
      new ProfileBuilder({ ...options, features: ['temperature', 'humidity'] }),
      new ProfileBuilder({ ...options, labels: ['ok', 'fire'] }),
      new ProfileBuilder({ ...options, confidence: false }),
      new ProfileBuilder({ ...options, k: 100 }),
    ];
    for (const other of others) {
      expect(() => mergeProfiles(profile, other.build())).toThrow(
        expect.objectContaining({ code: 'PROFILE_MISMATCH' }),
      );
    }
  });
});

describe('when a profile travels as JSON', () => {
  it('comes back the same', () => {
    fc.assert(
      fc.property(rows, (seen) => {
        const document = json(profileOf(seen));
        expect(json(parseProfile(document))).toEqual(document);
      }),
    );
  });

  const valid = json(
    profileOf([
      [1, 2, 0],
      [3, 4, 1],
    ]),
  );
  const features = valid['features'] as Record<string, unknown>[];
  it.each<[string, unknown, RegExp]>([
    ['another format', { ...valid, format: 'drover.profile/2' }, /\/format/],
    ['an unknown key', { ...valid, extra: 1 }, /extra/],
    [
      'a count that does not fit the sketch',
      { ...valid, features: [{ ...features[0], count: 1 }, features[1]] },
      /counts 2, the feature 1/,
    ],
    ['rows that do not add up', { ...valid, count: 5 }, /add up to 5/],
    ['extremes in the wrong order', { ...valid, features: [{ ...features[0], min: 9 }, features[1]] }, /min and max/],
    ['two features of one name', { ...valid, features: [features[0], features[0]] }, /same name/],
    [
      'labels without counts',
      { ...valid, predictions: { labels: ['a', 'b', 'c'], counts: [1, 1] } },
      /one count per label/,
    ],
    [
      'more predictions than rows',
      { ...valid, predictions: { labels: ['a', 'b'], counts: [1, 2] } },
      /more than there are rows/,
    ],
    ['no object', null, /./],
  ])('refuses %s', (_, document, reason) => {
    expect(() => parseProfile(document)).toThrow(expect.objectContaining({ code: 'PROFILE_INVALID' }));
    expect(() => parseProfile(document)).toThrow(reason);
  });
});
