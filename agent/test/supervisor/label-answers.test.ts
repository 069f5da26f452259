import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { newLabelRequestId, type LabelRequestId } from '@drover/shared/ids';
import { signLabelAnswers, type LabelAnswers } from '@drover/shared/protocol';
import { bulkSigner, createKeyPair, decodeEnvelope, encodeEnvelope } from '@drover/shared/trust';
import { inlineTelemetry, openTelemetry, type SynchronousTelemetry } from '../../src/monitor/index.js';
import { takeLabelAnswers, type LabelAnswersOptions } from '../../src/supervisor/label-answers.js';
import type { InstalledModel } from '../../src/update/index.js';
import { MODEL, served } from '../monitor/served-samples.js';
import { CLASSES, installClassifier } from '../serve/installed-classifier.js';
import { device, directorKey, keySetOf } from '../update/fixtures/releases.js';

const LOOK = { perDay: 1_000, maxOpen: 1_000, driftFactor: 1, randomShare: 1, expireAfterMs: 1e9, isDrifting: false };

describe('answers to requests for labels from the control plane', () => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-answers-'));
  let active: InstalledModel | undefined;
  let installed: InstalledModel;
  let store: SynchronousTelemetry;
  let incidents: { code?: string }[];
  let ids: LabelRequestId[];

  beforeAll(async () => {
    const labels = Array.from({ length: CLASSES }, (_, index) => `class ${index}`);
    installed = await installClassifier({
      directory: join(folder, '1'),
      manifest: { task: { type: 'classification', scores: 'probabilities', labels } },
    });
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  beforeEach(() => {
    active = installed;
    incidents = [];
    store = openTelemetry({ file: ':memory:', maxSamples: 100, nowMs: () => 0, onRebuilt: () => undefined });
    for (let index = 0; index < 4; index++) {
      store.requestLabels({ ...LOOK, nowMs: index * 600_000 });
      store.record([served(`r${index}`, [[index]])]);
    }
    store.requestLabels({ ...LOOK, nowMs: 9e6 });
    ids = store.labelRequests(MODEL).map(({ id }) => id as LabelRequestId);
    expect(ids.length).toBeGreaterThan(2);
  });
  afterEach(() => store.close());

  const signed = (answers: LabelAnswers['answers'], changes: Partial<LabelAnswers> = {}, key = directorKey): Buffer =>
    signLabelAnswers(
      { protocol: 1, kind: 'label-answers', deviceId: device, issuedAt: 0, answers, ...changes },
      bulkSigner(key),
    );
  const take = (bytes: Uint8Array, changes: Partial<LabelAnswersOptions> = {}) =>
    takeLabelAnswers(bytes, {
      deviceId: device,
      director: () => keySetOf(directorKey),
      desk: inlineTelemetry(store),
      active: (model) => (model === MODEL ? active : undefined),
      clock: { now: () => 1_000 },
      onIncident: (error) => incidents.push(error as { code?: string }),
      ...changes,
    });
  const answer = (index: number, label: number | null) => ({
    id: ids[index] ?? newLabelRequestId(),
    model: MODEL,
    label,
  });
  const labelled = () => store.labelled(MODEL, 0, 100).count;

  it('when the director signed them, are joined as local ones are, and each is told what became of it', async () => {
    const outcomes = await take(signed([answer(0, 2), answer(1, null), answer(99, 1), answer(2, CLASSES)]));
    expect(outcomes.map(({ became }) => became)).toEqual(['joined', 'declined', 'unknown', 'unfit']);
    expect(labelled()).toBe(1);
    expect(await take(signed([answer(0, 2), answer(0, 1)]))).toEqual([
      { id: ids[0], became: 'repeated' },
      { id: ids[0], became: 'conflicting' },
    ]);
    expect(store.labelRequests(MODEL).map(({ id }) => id)).not.toContain(ids[0]);
    expect(incidents).toEqual([]);
  });

  it('when somebody else signed them, or they are for another device, are told and dropped', async () => {
    const forged = signed([answer(0, 2)], {}, createKeyPair('stranger'));
    const misled = signed([answer(0, 2)], { deviceId: 'pump-8' as typeof device });
    const { payload } = decodeEnvelope(signed([answer(0, 1)]));
    const changed = encodeEnvelope({ ...decodeEnvelope(signed([answer(0, 2)])), payload });
    for (const bytes of [forged, misled, Buffer.from('{}'), changed]) expect(await take(bytes)).toEqual([]);
    expect(incidents.map(({ code }) => code)).toEqual([
      'SIGNATURE_BELOW_THRESHOLD',
      'MESSAGE_WRONG_DEVICE',
      'ENVELOPE_MALFORMED',
      'SIGNATURE_INVALID',
    ]);
    expect(labelled()).toBe(0);
  });

  it('when the model does not serve, are left without a word, for another time', async () => {
    active = undefined;
    expect(await take(signed([answer(0, 2)]))).toEqual([]);
    expect([labelled(), incidents]).toEqual([0, []]);
  });

  it('when the disk takes no more, tells of those that are joined, and of the disk', async () => {
    const desk = inlineTelemetry(store);
    let calls = 0;
    const full: typeof desk.answerLabel = (given) =>
      ++calls > 1
        ? Promise.reject(Object.assign(new Error('full'), { code: 'DATABASE_DISK_FULL' }))
        : desk.answerLabel(given);
    expect(await take(signed([answer(0, 2), answer(1, 2)]), { desk: { answerLabel: full } })).toEqual([
      { id: ids[0], became: 'joined' },
    ]);
    expect(incidents.map(({ code }) => code)).toEqual(['DATABASE_DISK_FULL']);
  });

  it('in whatever order and however often they come, each row has its first label, and counts once', async () => {
    const joined = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ index: fc.nat({ max: 3 }), label: fc.nat({ max: CLASSES - 1 }) }), {
          minLength: 1,
          maxLength: 6,
        }),
        async (given) => {
          const known = given.filter(({ index }) => ids[index] !== undefined);
          if (known.length === 0) return;
          const outcomes = await take(signed(known.map(({ index, label }) => answer(index, label))));
          outcomes.forEach(({ id, became }, place) => {
            const label = known[place]?.label ?? -1;
            const first = joined.get(id);
            expect(became).toBe(first === undefined ? 'joined' : first === label ? 'repeated' : 'conflicting');
            if (first === undefined) joined.set(id, label);
          });
          expect(labelled()).toBe(joined.size);
        },
      ),
      { numRuns: 30 },
    );
    const counts = store.takeCounts(10).reduce((sum, { labelled: { count } }) => sum + count, 0);
    expect(counts).toBe(joined.size);
  });
});
