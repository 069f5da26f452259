import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toCodedErrorJson } from '@drover/shared/coded-error';
import { digestHex, type DeviceId, type ModelName } from '@drover/shared/ids';
import { decodeLabelledSamples, type LabelledSamples, type Manifest, type Recipe } from '@drover/shared/manifest';
import type { AdaptationBody } from '@drover/shared/protocol';
import type { Clock } from '../host/index.js';
import type { InstalledModel, Serving } from '../update/ports.js';
import { ADAPTATION_FORMAT, digestExamples, type Adaptation } from './adaptation.js';
import { openAttempts, type Attempts } from './attempts.js';
import { splitExamples, type Examples } from './examples.js';
import type { FineTuneResult } from './fine-tune.js';
import { judgeAdaptation, type AdaptationJudgement } from './gate.js';
import { trainingRecipe } from './recipe.js';
import type { TrainingProgress } from './trainer.js';
import { startTrainerProcess } from './trainer-process.js';

export type AdaptationPolicy = Recipe['adaptation'];

/** Where labelled samples come from: telemetry.db. */
export interface LabelledSource {
  /** Samples of what was served since then whose truth is known, the newest `limit` of them, oldest first. */
  labelled(model: ModelName, sinceMs: number, limit: number): Promise<Examples>;
}

/** A fine-tuned file that passed the gate. */
export interface TunedModel {
  readonly model: ModelName;
  /** Absolute path. */
  readonly modelFile: string;
  readonly digest: InstalledModel['loaded'];
}

export interface TunerOptions {
  readonly dataDir: string;
  readonly deviceId: DeviceId;
  /** The device's own policy; the stricter of it and the signed recipe holds. */
  readonly policy: AdaptationPolicy;
  readonly memoryMiB: number;
  readonly clock: Pick<Clock, 'now'>;
  readonly source: LabelledSource;
  readonly serving: Pick<Serving, 'selfTest'>;
  /** Lets the adaptation serve, and keeps it over restarts. */
  activate(adaptation: TunedModel): Promise<void>;
  /** There are samples enough, and training begins. */
  readonly onStart: () => void;
  readonly onProgress: (model: ModelName, progress: TrainingProgress) => void;
}

export interface TuningOutcome {
  readonly body: AdaptationBody;
  readonly judgement: AdaptationJudgement;
  readonly lineage: Adaptation;
  /** Why an adaptation that passed, and may serve, does not. What served before still does. */
  readonly activationProblem?: unknown;
}

/** The newest so many are used; more would only make training longer. */
export const MAX_TUNING_SAMPLES = 5_000;
/** docs/protocol.md, section 5: a longer reason would make the report unreadable. */
const MAX_REASON_LENGTH = 2_000;
const STRICTNESS: readonly AdaptationPolicy[] = ['off', 'propose', 'auto'];

export const stricterPolicy = (one: AdaptationPolicy, other: AdaptationPolicy): AdaptationPolicy =>
  STRICTNESS[Math.min(STRICTNESS.indexOf(one), STRICTNESS.indexOf(other))] ?? 'off';

/** Whether this release may be fine-tuned on a device that has this policy. */
export const mayTune = (manifest: Manifest, policy: AdaptationPolicy): boolean =>
  manifest.recipe !== undefined && stricterPolicy(manifest.recipe.adaptation, policy) !== 'off';

/**
 * Fine-tunes what runs on the labelled samples of this device, within the recipe that the publisher signed: trains in a process of its own, judges by
 * held-out samples and the sealed anchor set, and serves the result only on PASS and under the policy `auto`.
 */
export class Tuner {
  readonly #options: TunerOptions;
  readonly #attempts: Attempts;

  constructor(options: TunerOptions) {
    this.#options = options;
    this.#attempts = openAttempts(options.dataDir);
  }

  /**
   * Undefined while there are fewer labelled samples since `sinceMs` than the recipe asks for, or than `atLeast`.
   *
   * @throws LearnError, ManifestError, HostError; nothing that serves was changed then
   */
  async tune(
    base: InstalledModel,
    sinceMs: number,
    atLeast: number,
    signal: AbortSignal,
  ): Promise<TuningOutcome | undefined> {
    const { recipe } = base.manifest;
    if (!recipe || !mayTune(base.manifest, this.#options.policy)) return undefined;
    const fresh = await this.#options.source.labelled(base.model, sinceMs, MAX_TUNING_SAMPLES);
    if (fresh.count < Math.max(recipe.bounds.minLabelled, atLeast)) return undefined;
    this.#options.onStart();
    // Any number will do as long as it can be found again; the data decide it, so that the same data give the same model.
    const dataset = digestExamples(fresh);
    const seed = Number.parseInt(digestHex(dataset).slice(0, 7), 16);
    const [train, holdout] = splitExamples(fresh, recipe.bounds.holdoutShare, seed);
    const anchor = (await readAsset(base, 'anchor')) ?? emptyLike(fresh);
    const replay = await readAsset(base, 'replay');
    const result = await this.#train({ base, recipe, seed, train, holdout, anchor, replay }, signal);
    const { file, digest } = await this.#attempts.storeModel(result.model);
    const candidate: InstalledModel = { ...base, modelFile: file, loaded: digest, adaptation: digest };
    const golden = await this.#options.serving.selfTest(candidate, signal).then(
      () => ({ ok: true, reason: '' }),
      (error: unknown) => {
        signal.throwIfAborted();
        return { ok: false, reason: toCodedErrorJson(error).what };
      },
    );
    const judgement = judgeAdaptation(
      {
        holdout: { before: result.before.holdout.correctness, after: result.after.holdout.correctness },
        anchor: { before: result.before.anchor.correctness, after: result.after.anchor.correctness },
        goldenOk: golden.ok,
      },
      recipe.bounds,
    );
    const lineage = this.#lineage({ base, recipe, seed, train, holdout, anchor, replay }, result, digest);
    await this.#attempts.conclude(digest, { lineage, judgement });
    const mayServe = judgement.verdict === 'PASS' && stricterPolicy(recipe.adaptation, this.#options.policy) === 'auto';
    const activationProblem = mayServe
      ? await this.#activate({ model: base.model, modelFile: file, digest }, signal)
      : undefined;
    const reasons = judgement.checks.map((check) => `${check.name}: ${check.reason}`);
    if (!golden.ok) reasons.push(golden.reason);
    if (activationProblem !== undefined)
      reasons.push(`It passed, but could not be activated: ${toCodedErrorJson(activationProblem).what}`);
    return {
      judgement,
      lineage,
      body: {
        model: base.model,
        base: base.release,
        adaptation: digest,
        verdict: judgement.verdict,
        reason: reasons.join('; ').slice(0, MAX_REASON_LENGTH),
        holdout: lineage.accuracy.holdout,
        anchor: lineage.accuracy.anchor,
        trainedOn: { labelled: train.count, replayed: replayedRows(train, replay, recipe), dataset },
        steps: result.steps,
        active: mayServe && activationProblem === undefined,
      },
      ...(activationProblem === undefined ? {} : { activationProblem }),
    };
  }

  /** @returns why it could not be activated */
  async #activate(adaptation: TunedModel, signal: AbortSignal): Promise<unknown> {
    try {
      await this.#options.activate(adaptation);
      return undefined;
    } catch (error) {
      signal.throwIfAborted();
      return error;
    }
  }

  async #train(job: TuningJob, signal: AbortSignal): Promise<FineTuneResult> {
    const { base, recipe, seed, train, holdout, anchor, replay } = job;
    const { result } = startTrainerProcess({
      request: {
        kind: 'fine-tune',
        model: await readFile(base.modelFile),
        train,
        ...(replay ? { replay } : {}),
        holdout,
        anchor,
        recipe: trainingRecipe(recipe, seed),
        replayShare: replay ? recipe.replayShare : 0,
      },
      signal,
      maxMemoryMiB: this.#options.memoryMiB,
      onProgress: (progress) => this.#options.onProgress(base.model, progress),
    });
    return result;
  }

  #lineage(job: TuningJob, result: FineTuneResult, model: InstalledModel['loaded']): Adaptation {
    const { base, recipe, seed } = job;
    const accuracyOf = (set: 'holdout' | 'anchor') => ({
      before: shareOf(result.before[set]),
      after: shareOf(result.after[set]),
      count: result.before[set].count,
    });
    const sets = (['train', 'replay', 'holdout', 'anchor'] as const).flatMap((role) => {
      const examples = job[role];
      return examples && examples.count > 0 ? [{ role, digest: digestExamples(examples), rows: examples.count }] : [];
    });
    return {
      format: ADAPTATION_FORMAT,
      base: base.release.digest,
      baseModel: base.loaded,
      model,
      modelBytes: result.model.length,
      data: sets,
      recipe,
      seed,
      steps: result.steps,
      accuracy: { holdout: accuracyOf('holdout'), anchor: accuracyOf('anchor') },
      createdAt: new Date(this.#options.clock.now()).toISOString(),
      deviceId: this.#options.deviceId,
    };
  }
}

interface TuningJob {
  readonly base: InstalledModel;
  readonly recipe: Recipe;
  readonly seed: number;
  readonly train: Examples;
  readonly holdout: Examples;
  readonly anchor: Examples;
  readonly replay: Examples | undefined;
}

async function readAsset(
  { manifest, directory }: InstalledModel,
  kind: 'anchor' | 'replay',
): Promise<LabelledSamples | undefined> {
  const asset = manifest.assets.find((candidate) => candidate.kind === kind);
  return asset && decodeLabelledSamples(await readFile(join(directory, asset.file.path)));
}

/** A release without an anchor set is judged NO_DATA by the gate: nothing shows that the adaptation does not forget. */
const emptyLike = ({ width }: Examples): Examples => ({
  features: new Float32Array(0),
  labels: new Int32Array(0),
  count: 0,
  width,
});

/** JSON has no NaN: nothing right of nothing is 0, and the count says so. */
const shareOf = ({ correct, count }: { correct: number; count: number }): number => (count === 0 ? 0 : correct / count);

const replayedRows = (train: Examples, replay: Examples | undefined, { replayShare }: Recipe): number =>
  replay ? Math.round((train.count * replayShare) / (1 - replayShare)) : 0;
