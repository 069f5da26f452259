import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { DeviceId, digestOf } from '@drover/shared/ids';
import { systemClock } from '../../src/host/index.js';
import { parseAdaptation, type Examples } from '../../src/learn/index.js';
import { mayTune, stricterPolicy, Tuner, type TunedModel, type TunerOptions } from '../../src/learn/tuner.js';
import { InlineServing } from '../../src/serve/inline/index.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { memoryRecorder } from '../serve/memory-recorder.js';
import { clouds } from './synthetic.js';
import { DRIFT, tunableRelease, withManifest, withRecipe } from './tunable-release.js';

const never = new AbortController().signal;
const coded = (code: string) => expect.objectContaining({ code }) as Error;

describe('policies', () => {
  const policies = ['off', 'propose', 'auto'] as const;
  it('when two hold, the stricter is obeyed', () => {
    for (const [strictness, one] of policies.entries()) {
      for (const [other, second] of policies.entries())
        expect(stricterPolicy(one, second)).toBe(policies[Math.min(strictness, other)]);
    }
  });
});

describe('the tuner', () => {
  let releases: string;
  let base: InstalledModel;
  let dataDir: string;
  let activated: TunedModel[];
  let started: number;
  const serving = new InlineServing({
    providers: ['cpu'],
    hardwareClass: 'generic',
    clock: systemClock,
    recorder: memoryRecorder(),
    onIncident: () => undefined,
  });

  beforeAll(async () => {
    releases = mkdtempSync(join(tmpdir(), 'drover-tunable-'));
    base = await tunableRelease(join(releases, '1'));
  });
  afterAll(async () => {
    await serving.close();
    rmSync(releases, { recursive: true });
  });
  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'drover-tuner-'));
    activated = [];
    started = 0;
  });
  afterEach(() => rmSync(dataDir, { recursive: true }));

  const tuner = (labelled: Examples, change: Partial<TunerOptions> = {}) =>
    new Tuner({
      dataDir,
      deviceId: DeviceId('pump-7'),
      policy: 'auto',
      memoryMiB: 512,
      clock: { now: () => Date.UTC(2026, 0, 1) },
      source: { labelled: () => Promise.resolve(labelled) },
      serving,
      activate: (adaptation) => {
        expect(digestOf(readFileSync(adaptation.modelFile))).toBe(adaptation.digest);
        activated.push(adaptation);
        return Promise.resolve();
      },
      onStart: () => void (started += 1),
      onProgress: () => undefined,
      ...change,
    });
  const drifted = (count = 300) => clouds({ count, seed: 31, ...DRIFT });

  it('when the world has drifted, the adaptation passes, serves, and its lineage says how it came about', async () => {
    const outcome = await tuner(drifted()).tune(base, 0, 0, never);
    expect(outcome?.body).toMatchObject({
      model: base.model,
      base: base.release,
      verdict: 'PASS',
      active: true,
      trainedOn: { labelled: 150, replayed: 150 },
      holdout: { count: 150 },
      anchor: { count: 400 },
    });
    const { holdout } = outcome?.body ?? { holdout: { before: 1, after: 0 } };
    expect(holdout.after).toBeGreaterThan(holdout.before);
    expect(activated).toMatchObject([{ model: base.model, digest: outcome?.body.adaptation }]);
    const file = activated[0]?.modelFile.replace(/\.onnx$/, '.json') ?? '';
    const { lineage } = JSON.parse(readFileSync(file, 'utf8')) as { lineage: unknown };
    expect(parseAdaptation(lineage)).toEqual(outcome?.lineage);
    expect(outcome?.lineage).toMatchObject({ base: base.release.digest, baseModel: base.loaded, deviceId: 'pump-7' });
  });

  it('when the same samples are tuned again, the same model comes out', async () => {
    const [one, other] = [
      await tuner(drifted()).tune(base, 0, 0, never),
      await tuner(drifted()).tune(base, 0, 0, never),
    ];
    expect(one?.body.adaptation).toBe(other?.body.adaptation);
  });

  it('when either policy is to propose, what passes is kept and reported, but does not serve', async () => {
    for (const [device, release] of [
      ['propose', 'auto'],
      ['auto', 'propose'],
    ] as const) {
      const outcome = await tuner(drifted(), { policy: device }).tune(
        withRecipe(base, { adaptation: release }),
        0,
        0,
        never,
      );
      expect(outcome?.body).toMatchObject({ verdict: 'PASS', active: false });
    }
    expect(activated).toEqual([]);
    expect(readdirSync(join(dataDir, 'tuning')).filter((name) => name.endsWith('.onnx'))).toHaveLength(1);
  });

  it('when either policy is off, or there is no recipe, nothing is trained', async () => {
    const { recipe: _recipe, ...bare } = base.manifest;
    const cases = [
      [base, 'off'],
      [withRecipe(base, { adaptation: 'off' }), 'auto'],
      [{ ...base, manifest: bare }, 'auto'],
    ] as const;
    for (const [model, policy] of cases) {
      expect(mayTune(model.manifest, policy)).toBe(false);
      await expect(tuner(drifted(), { policy }).tune(model, 0, 0, never)).resolves.toBeUndefined();
    }
    expect(started).toBe(0);
  });

  it('when there are fewer labelled samples than the recipe or the caller asks for, it waits', async () => {
    await expect(tuner(drifted(99)).tune(base, 0, 0, never)).resolves.toBeUndefined();
    await expect(tuner(drifted(150)).tune(base, 0, 151, never)).resolves.toBeUndefined();
    expect(started).toBe(0);
    expect(existsSync(join(dataDir, 'tuning'))).toBe(false);
  });

  it('when it is shown not to gain enough, it fails, does not serve, and its model is not kept', async () => {
    const strict = withRecipe(base, { bounds: { minImprovement: 0.9 } });
    const outcome = await tuner(drifted()).tune(strict, 0, 0, never);
    expect(outcome?.body).toMatchObject({ verdict: 'FAIL', active: false });
    expect(activated).toEqual([]);
    expect(readdirSync(join(dataDir, 'tuning'))).toEqual([expect.stringMatching(/\.json$/)]);
  });

  it('when the gain could be chance, it is inconclusive and does not serve', async () => {
    const certain = withRecipe(base, { bounds: { alpha: 1e-9 } });
    const outcome = await tuner(drifted(100)).tune(certain, 0, 0, never);
    expect(outcome?.body).toMatchObject({ verdict: 'INCONCLUSIVE', active: false });
    expect(activated).toEqual([]);
  });

  it('when the release has no anchor set, nothing shows that it does not forget', async () => {
    const assets = base.manifest.assets.filter(({ kind }) => kind !== 'anchor');
    const outcome = await tuner(drifted()).tune(withManifest(base, { assets }), 0, 0, never);
    expect(outcome?.body).toMatchObject({ verdict: 'NO_DATA', active: false, anchor: { count: 0 } });
    expect(activated).toEqual([]);
  });

  it('when the self-test refuses the result, it fails and says why', async () => {
    const refusing = { selfTest: () => Promise.reject(new Error('not finite')) };
    const outcome = await tuner(drifted(), { serving: refusing }).tune(base, 0, 0, never);
    expect(outcome?.body).toMatchObject({
      verdict: 'FAIL',
      active: false,
      reason: expect.stringContaining('not finite') as unknown,
    });
  });

  it('when what passed cannot be activated, it is reported as not active, with the problem', async () => {
    const problem = new Error('an update came between');
    const outcome = await tuner(drifted(), { activate: () => Promise.reject(problem) }).tune(base, 0, 0, never);
    expect(outcome).toMatchObject({ activationProblem: problem, body: { verdict: 'PASS', active: false } });
    expect(outcome?.body.reason).toContain('an update came between');
  });

  it('when it is stopped while it trains, it ends at once and nothing is kept', async () => {
    const stop = new AbortController();
    const endless = withRecipe(base, { epochs: 10_000, batchSize: 1 });
    const tuning = tuner(drifted(2_000), { onProgress: () => stop.abort() }).tune(endless, 0, 0, stop.signal);
    await expect(tuning).rejects.toThrow(coded('LEARN_ABORTED'));
    expect([activated, existsSync(join(dataDir, 'tuning'))]).toEqual([[], false]);
  });

  it('when a label names no class of the model, the reason is coded and nothing changes', async () => {
    const examples = drifted();
    examples.labels[7] = 99;
    await expect(tuner(examples).tune(base, 0, 0, never)).rejects.toThrow(coded('LEARN_EXAMPLES_INVALID'));
    expect(activated).toEqual([]);
  });
});
