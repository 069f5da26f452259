import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { Value } from 'typebox/value';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LabelListing } from '@drover/shared/protocol';
import { openTelemetry, type ListingTerms, type SynchronousTelemetry } from '../../../src/monitor/index.js';
import { MODEL, served } from '../served-samples.js';

const DAY_MS = 86_400_000;
const START_MS = 1_700_000_000_000;
const LOOK = {
  perDay: 1_000,
  maxOpen: 1_000,
  driftFactor: 20,
  randomShare: 1,
  expireAfterMs: 14 * DAY_MS,
  isDrifting: true,
};

describe('what the control plane is told of requests for labels', () => {
  let directory: string;
  let store: SynchronousTelemetry;
  let nowMs: number;
  let asked: number;

  const open = () =>
    openTelemetry({
      file: join(directory, 'telemetry.db'),
      maxSamples: 5_000,
      nowMs: () => nowMs,
      random: () => 0,
      onRebuilt: (error) => {
        throw error;
      },
    });
  const take = (terms: Partial<ListingTerms> = {}) =>
    store.takeLabelListing({
      maxOpen: 200,
      sendFeatures: false,
      expireAfterMs: LOOK.expireAfterMs,
      isAfresh: false,
      nowMs,
      ...terms,
    });
  /** One more request, for a row of its own. */
  const ask = (row: number[] = [1.5], requestId = `r${asked}`): void => {
    store.requestLabels({ ...LOOK, nowMs });
    store.record([served(requestId, [row])]);
    nowMs += 60_000;
    expect(store.requestLabels({ ...LOOK, nowMs })).toBe(1);
    asked += 1;
  };
  const openIds = () => store.labelRequests(MODEL).map(({ id }) => id);
  const answerOldest = () => store.answerLabel({ id: openIds()[0] ?? '', model: MODEL, label: 1, atMs: nowMs });

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'drover-listing-'));
    nowMs = START_MS;
    asked = 0;
    store = open();
  });
  afterEach(() => {
    store.close();
    rmSync(directory, { recursive: true });
  });

  it('when the agent starts, is all of it; while nothing changes, nothing; then the ids of all and what is new', () => {
    expect(take()).toEqual({ open: [], described: [] });
    expect(take()).toBeUndefined();
    ask();
    const first = take();
    expect(first).toMatchObject({
      open: openIds(),
      described: [{ model: MODEL, version: '1.0.0', requestId: 'r0', row: 0, reason: 'random', prediction: 1 }],
    });
    expect(first?.described[0]).toMatchObject({ requestedAt: nowMs, expiresAt: nowMs + LOOK.expireAfterMs });
    expect(Value.Check(LabelListing, first)).toBe(true);
    expect(take()).toBeUndefined();
    ask();
    expect(take()).toMatchObject({ open: openIds(), described: [{ requestId: 'r1' }] });
    answerOldest();
    expect(take()).toEqual({ open: openIds(), described: [] });
    store.close();
    store = open();
    expect(take()).toMatchObject({ open: openIds(), described: [{ requestId: 'r1' }] });
  });

  it('when a day has passed, a clock was set back, or reports were lost, is described again', () => {
    ask();
    take();
    expect(take({ nowMs: nowMs + DAY_MS - 1 })).toBeUndefined();
    expect(take({ nowMs: nowMs + DAY_MS })?.described).toHaveLength(1);
    expect(take({ nowMs: nowMs - 1 })?.described).toHaveLength(1);
    expect(take({ nowMs, isAfresh: true })?.described).toHaveLength(1);
    expect(take()).toBeUndefined();
  });

  it('when it may send features, has them to the last bit, what is no number as null; else none', () => {
    ask([0.1, NaN, 1e-30, Infinity, 16_777_217]);
    expect(take()?.described[0]).not.toHaveProperty('features');
    const { features } = take({ isAfresh: true, sendFeatures: true })?.described[0] ?? {};
    expect(features?.map((value) => value && Math.fround(value))).toEqual([
      Math.fround(0.1),
      null,
      Math.fround(1e-30),
      null,
      16_777_216,
    ]);
  });

  it('when a row has more features, or a longer name, than a report should carry, goes without', () => {
    ask(
      Array.from({ length: 4_000 }, (_, index) => index + 0.123_456_7),
      'n'.repeat(500),
    );
    const [described] = take({ sendFeatures: true })?.described ?? [];
    expect(Object.keys(described ?? {})).not.toEqual(expect.arrayContaining(['features']));
    expect(Object.keys(described ?? {})).not.toEqual(expect.arrayContaining(['requestId']));
  });

  it('whatever is asked for and answered, stays small, and tells of each request that waits, once', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ ask: fc.nat({ max: 40 }), answer: fc.nat({ max: 20 }) }), { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 600 }),
        (rounds, width) => {
          store.close();
          rmSync(directory, { recursive: true });
          directory = mkdtempSync(join(tmpdir(), 'drover-listing-'));
          store = open();
          const known = new Set<string>();
          const told: string[] = [];
          const hear = (): boolean => {
            const listing = take({ sendFeatures: true });
            if (!listing) return false;
            expect(JSON.stringify(listing).length).toBeLessThan(48 * 1024);
            expect(Value.Check(LabelListing, listing)).toBe(true);
            for (const id of known) if (!listing.open.includes(id as never)) known.delete(id);
            for (const { id } of listing.described) {
              known.add(id);
              told.push(id);
            }
            return true;
          };
          for (const round of rounds) {
            for (let index = 0; index < round.ask; index++) ask(new Array<number>(width).fill(index / 3));
            for (let index = 0; index < round.answer; index++) answerOldest();
            hear();
          }
          while (hear());
          const rest = [];
          for (let [id] = openIds(); id !== undefined; [id] = openIds()) {
            rest.push(id);
            answerOldest();
          }
          expect([...known].sort()).toEqual(rest.slice(0, 200).sort());
          expect(new Set(told).size).toBe(told.length);
        },
      ),
      { numRuns: 15 },
    );
  });
});
