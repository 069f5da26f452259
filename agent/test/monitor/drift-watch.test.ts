import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DriftBody } from '@drover/shared/protocol';
import { ProfileBuilder, toJson } from '@drover/shared/profile';
import { calibrateDrift, detectDrift, seededRandom } from '@drover/shared/statistics';
import { beforeEach, afterEach, describe, expect, it } from 'vitest';
import { DriftWatch, inlineTelemetry, openTelemetry, type TelemetryStore } from '../../src/monitor/index.js';
import type { InferenceRecord } from '../../src/serve/index.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { install, someDigest } from '../serve/installed-classifier.js';
import { MODEL, served } from './served-samples.js';

const WIDTH = 3;
const WINDOW = 50;
const random = seededRandom(7);
const normalRows = (count: number, shift = 0) =>
  Array.from({ length: count }, () => Array.from({ length: WIDTH }, () => random.normal() + shift));

/** Standard normal data, and a threshold at one false alarm in 2,000 windows; the seed makes it the same in every run. */
const reference = normalRows(2_000);
const drift = calibrateDrift({
  rows: Float32Array.from(reference.flat()),
  width: WIDTH,
  windowSize: WINDOW,
  falseAlarmsPerWindow: 0.000_5,
  runs: 2_000,
  seed: 1,
});

describe('the drift watch', () => {
  let directory: string;
  let store: TelemetryStore;
  let drifts: DriftBody[];
  let incidents: unknown[];
  let model: InstalledModel;
  const open = () =>
    new DriftWatch({
      store,
      clock: { now: () => 5 },
      onDrift: (body) => void drifts.push(body),
      onIncident: (error) => void incidents.push(error),
    });

  /** A release with the profile of `reference`. */
  function installWithProfile(version: string, overrides: { features?: string[] } = {}): InstalledModel {
    const builder = new ProfileBuilder({ features: overrides.features ?? ['x', 'y', 'z'] });
    for (const row of reference) builder.add(Float32Array.from(row).subarray(0, builder.build().features.length));
    const folder = join(directory, version);
    const referenceProfile = { path: 'profile.json', digest: someDigest('d'), bytes: 1 };
    const installed = install(
      new Uint8Array(1),
      [],
      { directory: folder, version, manifest: { referenceProfile, drift } },
      { inputs: [], outputs: [] },
    );
    writeFileSync(join(folder, 'profile.json'), JSON.stringify(toJson(builder.build())));
    return installed;
  }
  const record = (rows: number[][], by: InstalledModel = model): Promise<void> => {
    const servedBy: Partial<InferenceRecord> = {
      release: by.release,
      ...(by.adaptation ? { adaptation: by.adaptation } : {}),
    };
    return store.record(rows.map((row) => served('r', [row], servedBy)));
  };

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'drover-drift-'));
    store = inlineTelemetry(
      openTelemetry({
        file: join(directory, 'telemetry.db'),
        maxSamples: 10_000,
        nowMs: Date.now,
        onRebuilt: () => undefined,
      }),
    );
    drifts = [];
    incidents = [];
    model = installWithProfile('1.0.0');
  });
  afterEach(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });

  it('when data stays as it was, it stays silent', async () => {
    const watch = open();
    await watch.activated(model);
    await record(normalRows(10 * WINDOW));
    await watch.check();
    expect(drifts).toEqual([]);
    expect(await store.verdicts(MODEL, 100)).toHaveLength(10);
  });

  it('when data shifts, it raises one alarm, and clears it after three calm windows', async () => {
    const watch = open();
    await watch.activated(model);
    await record(normalRows(3 * WINDOW, 1.5));
    await watch.check();
    expect(drifts).toMatchObject([
      {
        model: MODEL,
        release: model.release,
        status: 'raised',
        detector: 'ks-max',
        windowSize: WINDOW,
        windowEndAt: 1_000,
      },
    ]);
    expect(drifts[0]?.statistic).toBeGreaterThan(drifts[0]?.threshold ?? 1);
    expect(drifts[0]?.worst).toHaveLength(WIDTH);
    await record(normalRows(2 * WINDOW));
    await watch.check();
    expect(drifts).toHaveLength(1);
    await record(normalRows(WINDOW));
    await watch.check();
    expect(drifts.map(({ status }) => status)).toEqual(['raised', 'cleared']);
  });

  it('when the release asks for two windows in a row, one alone raises nothing', async () => {
    const { drift: thresholds } = model.manifest;
    if (!thresholds) throw new Error('the test release has thresholds');
    const careful = { ...model, manifest: { ...model.manifest, drift: { ...thresholds, confirmWindows: 2 } } };
    const watch = open();
    await watch.activated(careful);
    await record([...normalRows(WINDOW, 1.5), ...normalRows(WINDOW), ...normalRows(WINDOW, 1.5)]);
    await watch.check();
    expect(drifts).toEqual([]);
    const later = open();
    await later.activated(careful);
    await record(normalRows(WINDOW, 1.5));
    await later.check();
    expect(drifts.map(({ status }) => status)).toEqual(['raised']);
  });

  it('when a verdict was stored, it can be reached again from what is stored', async () => {
    const watch = open();
    await watch.activated(model);
    await record([...normalRows(WINDOW), ...normalRows(WINDOW, 1.5)]);
    await watch.check();
    const verdicts = await store.verdicts(MODEL, 10);
    expect(verdicts).toHaveLength(2);
    for (const { servedBy, afterId, lastId, decision } of verdicts) {
      const window = await store.window({
        model: MODEL,
        release: servedBy.release.digest,
        size: decision.windowSize,
        afterId,
      });
      expect(window?.lastId).toBe(lastId);
      if (!window) throw new Error('the samples of the verdict are gone');
      const { profile, thresholds } = await import('../../src/monitor/drift-reference.js').then(
        async ({ readDriftReference }) => {
          const reference = await readDriftReference(model);
          if (!reference) throw new Error('the release has no profile');
          return reference;
        },
      );
      expect(detectDrift({ reference: profile, thresholds, window })).toEqual(decision);
    }
  });

  it('when another release is activated, its windows begin anew and hold its samples only', async () => {
    const watch = open();
    await watch.activated(model);
    await record(normalRows(WINDOW - 1, 1.5));
    const next = installWithProfile('2.0.0');
    await watch.activated(next);
    await record(normalRows(WINDOW - 1), next);
    await record(normalRows(5, 1.5));
    await watch.check();
    expect(await store.verdicts(MODEL, 10)).toEqual([]);
    await record(normalRows(1), next);
    await watch.check();
    expect(await store.verdicts(MODEL, 10)).toMatchObject([
      { servedBy: { release: next.release }, decision: { verdict: 'NO_DRIFT' } },
    ]);
    expect(drifts).toEqual([]);
  });

  it('when an adaptation of the same release is activated, its windows are its own', async () => {
    const watch = open();
    await watch.activated(model);
    await record(normalRows(WINDOW - 1, 1.5));
    const adapted: InstalledModel = { ...model, adaptation: someDigest('e') };
    await watch.activated(adapted);
    await record(normalRows(1, 1.5), adapted);
    await watch.check();
    expect(await store.verdicts(MODEL, 10)).toEqual([]);
  });

  it('when the agent restarts, it goes on behind the last verdict and knows that the alarm is up', async () => {
    const before = open();
    await before.activated(model);
    await record(normalRows(WINDOW, 1.5));
    await before.check();
    const after = open();
    await after.activated(model);
    await record(normalRows(WINDOW, 1.5));
    await after.check();
    expect(drifts.map(({ status }) => status)).toEqual(['raised']);
    expect(await store.verdicts(MODEL, 10)).toHaveLength(2);
    await record(normalRows(3 * WINDOW));
    await after.check();
    expect(drifts.map(({ status }) => status)).toEqual(['raised', 'cleared']);
  });

  it('when the profile does not fit the thresholds, it says so and watches nothing', async () => {
    const watch = open();
    await expect(watch.activated(installWithProfile('3.0.0', { features: ['x'] }))).rejects.toMatchObject({
      code: 'DRIFT_REFERENCE_UNUSABLE',
    });
    await watch.check();
    expect(drifts).toEqual([]);
  });

  it('when samples do not fit the profile, it reports an incident once and stops watching', async () => {
    const watch = open();
    await watch.activated(model);
    await record(Array.from({ length: 2 * WINDOW }, () => [1]));
    await watch.check();
    await watch.check();
    expect(incidents).toMatchObject([{ code: 'STATISTICS_ARGUMENT' }]);
  });

  it('when a release ships no profile, nothing is watched', async () => {
    const watch = open();
    const { referenceProfile: _profile, drift: _drift, ...manifest } = model.manifest;
    await watch.activated({ ...model, manifest });
    await record(normalRows(2 * WINDOW, 3));
    await watch.check();
    expect(drifts).toEqual([]);
  });
});
