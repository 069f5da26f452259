import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openTelemetry, type SynchronousTelemetry } from '../../../src/monitor/index.js';
import type { LabelReason, LabelRequest } from '../../../src/serve/index.js';
import { MODEL, served } from '../served-samples.js';

const DAY_MS = 86_400_000;
const START_MS = 1_700_000_000_000;
const LOOK = { perDay: 8, maxOpen: 8, driftFactor: 3, randomShare: 0.5, expireAfterMs: DAY_MS, isDrifting: false };

describe('the queue of requests for labels', () => {
  let directory: string;
  let store: SynchronousTelemetry;

  const open = () =>
    openTelemetry({
      file: join(directory, 'telemetry.db'),
      maxSamples: 200,
      nowMs: () => 0,
      // The oldest of what may be drawn.
      random: () => 0.99,
      onRebuilt: (error) => {
        throw error;
      },
    });
  const record = (requestId: string, confidences: number[]): void =>
    store.record([
      served(
        requestId,
        confidences.map((_, row) => [row]),
        {
          predictions: {
            classes: new Int32Array(confidences.length).fill(1),
            confidences: Float32Array.from(confidences),
          },
        },
      ),
    ]);
  const look = (nowMs: number, overrides: Partial<typeof LOOK> = {}) =>
    store.requestLabels({ ...LOOK, nowMs, ...overrides });
  const asked = (reason: LabelReason): LabelRequest => {
    const found = store.labelRequests(MODEL).find((request) => request.reason === reason);
    if (!found) throw new Error(`nothing ${reason} is asked for`);
    return found;
  };
  const answer = (id: string, label: number | null) =>
    store.answerLabel({ id, model: MODEL, label, atMs: START_MS + 1 });
  /** One request of each reason: row 3 of "r" is the one that the model was least sure of. */
  const ask = (): void => {
    record(
      'before',
      Array.from({ length: 120 }, (_, row) => 0.9 + (row % 10) / 100),
    );
    look(START_MS);
    record('r', [0.95, 0.96, 0.97, 0.3]);
    expect(look(START_MS)).toBe(2);
  };

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'drover-labels-'));
    store = open();
  });
  afterEach(() => {
    store.close();
    rmSync(directory, { recursive: true });
  });

  it('when rows were served, it asks for one that is drawn and for the one that the model was least sure of', () => {
    ask();
    expect(asked('targeted')).toMatchObject({
      model: MODEL,
      version: '1.0.0',
      requestId: 'r',
      row: 3,
      prediction: 1,
      requestedAtMs: START_MS,
      features: Float32Array.of(3),
    });
    expect(asked('random')).toMatchObject({ requestId: 'r', row: 0, features: Float32Array.of(0) });
    expect(asked('targeted').confidence).toBeCloseTo(0.3);
  });

  it('when labels are turned on, nothing that was served before is asked for', () => {
    record('r', [0.9, 0.9]);
    expect(look(START_MS)).toBe(0);
  });

  it('when a targeted request is answered, the label is for training, and does not count as accuracy', () => {
    ask();
    expect(answer(asked('targeted').id, 2)).toBe('joined');
    expect(answer(asked('random').id, 1)).toBe('joined');
    expect(store.labelRequests(MODEL)).toEqual([]);
    expect(store.labelled(MODEL, 0, 10).count).toBe(2);
    const [counts] = store.takeCounts(1);
    expect(counts).toMatchObject({ labelled: { count: 1, correct: 1 }, targeted: { count: 1, correct: 0 } });
  });

  it('when ordinary feedback comes for a row that was targeted and answered, the row counts, once', () => {
    ask();
    const { id } = asked('targeted');
    answer(id, 2);
    const feedback = {
      model: MODEL,
      requestId: 'r',
      atMs: START_MS,
      of: 'classes' as const,
      labels: [null, null, null, 2],
    };
    expect(store.label([feedback, feedback])).toMatchObject([{ repeated: 1 }, { repeated: 1 }]);
    expect(store.takeCounts(1)[0]?.labelled).toEqual({ count: 1, correct: 0 });
  });

  it('when ordinary feedback comes for a row that is asked for, the request is answered by it, and the row counts', () => {
    ask();
    const { id } = asked('targeted');
    store.label([
      { model: MODEL, requestId: 'r', atMs: START_MS, of: 'classes' as const, labels: [null, null, null, 1] },
    ]);
    expect(store.labelRequests(MODEL).filter((request) => request.reason === 'targeted')).toEqual([]);
    expect([answer(id, 1), answer(id, 2)]).toEqual(['repeated', 'conflicting']);
    const [counts] = store.takeCounts(1);
    expect(counts?.labelled).toEqual({ count: 1, correct: 1, conflicting: 1 });
    expect(counts?.targeted).toBeUndefined();
  });

  it('when nobody can tell, it is not asked for again, and a late answer still counts', () => {
    ask();
    const { id } = asked('random');
    expect([answer(id, null), answer(id, null)]).toEqual(['declined', 'declined']);
    expect(store.labelRequests(MODEL).map(({ reason }) => reason)).toEqual(['targeted']);
    expect(answer(id, 1)).toBe('joined');
    expect(answer(id, null)).toBe('repeated');
    expect(store.takeCounts(1)[0]?.labelled.count).toBe(1);
  });

  it('when an answer is for nothing that was asked for, it is unknown', () => {
    ask();
    expect(answer('0b9f', 1)).toBe('unknown');
  });

  it('when a request is older than allowed, it expires; its sample is kept until then, and is gone when newer ones came', () => {
    ask();
    const { id } = asked('targeted');
    for (let batch = 0; batch < 5; batch++) record(`later-${batch}`, new Array<number>(100).fill(0.99));
    expect(asked('targeted').features).toEqual(Float32Array.of(3));
    look(START_MS + DAY_MS + 1);
    expect(store.labelRequests(MODEL).filter((request) => request.requestedAtMs === START_MS)).toEqual([]);
    record('last', new Array<number>(100).fill(0.99));
    expect(answer(id, 1)).toBe('gone');
  });

  it('when it is turned off, what was asked for is closed', () => {
    ask();
    expect(look(START_MS + 1, { perDay: 0 })).toBe(0);
    expect(store.labelRequests(MODEL)).toEqual([]);
  });

  it('when it looks at any times, over restarts and with answers between, neither budget nor desk is exceeded', () => {
    const step = fc.record({
      waitMs: fc.oneof(fc.integer({ min: 0, max: 60_000 }), fc.integer({ min: 0, max: DAY_MS / 2 })),
      restarts: fc.boolean(),
      answers: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 25 }),
        fc.integer({ min: 0, max: 6 }),
        fc.integer({ min: 1, max: 5 }),
        (steps, perDay, maxOpen) => {
          store.close();
          rmSync(directory, { recursive: true });
          directory = mkdtempSync(join(tmpdir(), 'drover-labels-'));
          store = open();
          const settings = { perDay, maxOpen, expireAfterMs: 100 * DAY_MS };
          const askedAt: number[] = [];
          let nowMs = START_MS;
          look(nowMs, settings);
          for (const { waitMs, restarts, answers } of steps) {
            nowMs += waitMs;
            if (restarts) {
              store.close();
              store = open();
              look(nowMs, settings);
            }
            record('r', [0.9, 0.2]);
            const count = look(nowMs, settings);
            for (let index = 0; index < count; index++) askedAt.push(nowMs);
            const isOpen = store.labelRequests(MODEL);
            expect(isOpen.length).toBeLessThanOrEqual(maxOpen);
            if (answers) for (const { id } of isOpen) answer(id, 1);
          }
          for (const from of askedAt) {
            expect(askedAt.filter((at) => at >= from && at < from + DAY_MS).length).toBeLessThanOrEqual(perDay);
          }
        },
      ),
      { numRuns: 25 },
    );
  });
});
