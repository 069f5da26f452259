import { freemem } from 'node:os';
import type { ModelName, Version } from '@drover/shared/ids';
import { contractFor } from '@drover/shared/manifest';
import type { RunningModel } from '@drover/shared/protocol';
import type { Clock } from '../../host/clock.js';
import type {
  InstalledModel,
  ParameterServing,
  Replaced,
  ServedParameters,
  Serving,
  ServingHealth,
} from '../../update/ports.js';
import { ActivationCounts } from '../activation.js';
import { ServeError, type ServeCode } from '../errors.js';
import { ParameterBoard, type Rejection } from '../parameters/board.js';
import { rejected } from '../parameters/rejected.js';
import type { Recorder } from '../recorder.js';
import { readGoldenVectors, selfTest } from '../session/golden.js';
import type { RunRequest } from '../scheduling/run-queue.js';
import type { TensorMap } from '../tensors/tensor.js';
import type { OpenedSession } from '../session/model-session.js';
import { ActiveModel, type PlacedModel } from './active-model.js';
import { checkInputs } from './check-inputs.js';
import { featureRows, inferencesIn, observation, predictionsOf } from './observation.js';

export interface InlineServingOptions {
  readonly providers: readonly string[];
  readonly hardwareClass: string;
  readonly clock: Clock;
  readonly recorder: Recorder;
  /** Where sessions live; in this thread unless told otherwise. */
  readonly open?: (model: InstalledModel) => Promise<PlacedModel>;
  /** An application has refused the parameters that it was given. In place of an incident. */
  readonly onParametersRejected?: (model: ModelName, rejection: Rejection) => void;
  /** A session that was replaced could not be closed. */
  readonly onIncident: (error: unknown) => void;
}

export interface InferenceRequest extends RunRequest {
  readonly model: ModelName;
  readonly version?: string;
  readonly requestId: string;
}

export interface InferenceResponse {
  readonly version: Version;
  readonly outputs: TensorMap;
  /** In force when the run began. */
  readonly parameters: ServedParameters | undefined;
}

/** What the protocol needs of the models that are served. */
export interface ServedModels {
  served(): readonly InstalledModel[];
  /** @throws ServeError MODEL_NOT_SERVED */
  find(model: string, version?: string): InstalledModel;
  /** @throws ServeError MODEL_NOT_SERVED, REQUEST_INVALID, MODEL_RUN_FAILED */
  infer(request: InferenceRequest): Promise<InferenceResponse>;
  /** Ground truth for the rows of an earlier request: class indices. @throws ServeError MODEL_NOT_SERVED, REQUEST_INVALID */
  feedback(model: string, requestId: string, labels: readonly number[]): void;
  /** In force for the release that serves. @throws ServeError MODEL_NOT_SERVED, PARAMETERS_NOT_IN_FORCE */
  parameters(model: string): ServedParameters;
  /** An application can't work with the parameters of this release. @throws ServeError MODEL_NOT_SERVED, REQUEST_INVALID */
  rejectParameters(model: string, rejection: Rejection): void;
}

/**
 * Serves models from this process: in the simulator as the whole of serving, on a device inside the inference process.
 *
 * INVARIANT: a request is counted, run and recorded by one activation, the one that was current when it arrived; an activation's session closes
 * only after its last run ended (or hung for longer than the drain's time-out).
 */
export class InlineServing implements Serving, ParameterServing, ServedModels {
  readonly #options: InlineServingOptions;
  readonly #open: (model: InstalledModel) => Promise<PlacedModel>;
  readonly #active = new Map<string, ActiveModel>();
  /** Loaded and idle, for the way back from a candidate. */
  readonly #kept = new Map<string, ActiveModel>();
  readonly #retiring = new Set<Promise<void>>();
  readonly #board = new ParameterBoard();

  constructor(options: InlineServingOptions) {
    this.#options = options;
    this.#open = options.open ?? ((model) => openHere(model, options.providers));
  }

  async selfTest(candidate: InstalledModel, signal: AbortSignal): ReturnType<Serving['selfTest']> {
    signal.throwIfAborted();
    const { session, provider } = await this.#open(candidate);
    try {
      signal.throwIfAborted();
      return {
        provider,
        ...(await selfTest(session, candidate, await readGoldenVectors(candidate), {
          hardwareClass: this.#options.hardwareClass,
          provider: provider.actual,
        })),
      };
    } finally {
      await session.close();
    }
  }

  async activate(candidate: InstalledModel, signal: AbortSignal, replaced: Replaced = 'close'): Promise<RunningModel> {
    signal.throwIfAborted();
    const { model } = candidate;
    const activation = this.#takeKept(candidate) ?? (await this.#load(candidate, signal));
    const before = this.#active.get(model);
    this.#active.set(model, activation);
    void this.dropKept(model);
    if (before && replaced === 'keep' && this.#hasRoomBeside(candidate)) this.#kept.set(model, before);
    else if (before) void this.#retire(before);
    return activation.running;
  }

  async dropKept(model: ModelName): Promise<void> {
    const kept = this.#kept.get(model);
    this.#kept.delete(model);
    if (kept) await this.#retire(kept);
  }

  async deactivate(model: ModelName): Promise<void> {
    await this.dropKept(model);
    const stopped = this.#active.get(model);
    if (!stopped) return;
    this.#active.delete(model);
    await this.#retire(stopped);
  }

  running(model: ModelName): RunningModel | undefined {
    return this.#active.get(model)?.running;
  }

  health(model: ModelName): ServingHealth {
    return (this.#active.get(model)?.counts ?? new ActivationCounts()).health();
  }

  served(): readonly InstalledModel[] {
    return [...this.#active.values()].map(({ installed }) => installed);
  }

  find(model: string, version?: string): InstalledModel {
    return this.#current(model, version).installed;
  }

  async infer(request: InferenceRequest): Promise<InferenceResponse> {
    const activation = this.#current(request.model, request.version);
    const { installed, counts } = activation;
    const parameters = this.#board.inForce(request.model, installed.release.version);
    checkInputs(installed, request.inputs);
    const { clock, recorder } = this.#options;
    const atMs = clock.now();
    const startedMs = performance.now();
    const features = featureRows(request.inputs);
    const inferences = inferencesIn(request.inputs);
    const note = (outputs: TensorMap | undefined): void => {
      const latencyUs = Math.round((performance.now() - startedMs) * 1_000);
      const failed = outputs === undefined;
      counts.add({ failed, latencyUs });
      const { model, release, adaptation } = installed;
      const servedBy = { model, release, ...(adaptation === undefined ? {} : { adaptation }) };
      const seen = outputs ? observation(features, predictionsOf(installed, outputs)) : {};
      recorder.record({ ...servedBy, requestId: request.requestId, atMs, latencyUs, failed, inferences, ...seen });
    };
    try {
      const outputs = await activation.run(request);
      note(outputs);
      return { version: installed.release.version, outputs, parameters };
    } catch (error) {
      if (!isNoFaultOfModel(error)) note(undefined);
      throw error;
    }
  }

  feedback(model: string, requestId: string, labels: readonly number[]): void {
    const { installed } = this.#current(model);
    const { task } = installed.manifest;
    if (task.type !== 'classification') {
      throw new ServeError('REQUEST_INVALID', `${model} is a model for ${task.type}; labels are for classification.`, {
        remedy: 'Send labels to classification models only.',
      });
    }
    const classes = task.labels?.length ?? Infinity;
    if (!labels.every((label) => Number.isInteger(label) && label >= 0 && label < classes)) {
      throw new ServeError('REQUEST_INVALID', `Labels of ${model} are class indices from 0 to ${classes - 1}.`, {
        remedy: 'Send one class index for each row of the request.',
      });
    }
    this.#options.recorder.label({ model: installed.model, requestId, atMs: this.#options.clock.now(), labels });
  }

  setParameters(model: ModelName, parameters: ServedParameters | undefined, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#board.set(model, parameters);
    return Promise.resolve();
  }

  parametersInForce(model: ModelName): ServedParameters | undefined {
    return this.#board.inForce(model, this.#active.get(model)?.installed.release.version);
  }

  parametersRejected(model: ModelName): Rejection | undefined {
    return this.#board.rejection(model);
  }

  parameters(model: string): ServedParameters {
    const { installed } = this.#current(model);
    const found = this.parametersInForce(installed.model);
    if (found) return found;
    throw new ServeError(
      'PARAMETERS_NOT_IN_FORCE',
      `No parameters are in force for ${installed.model} ${installed.release.version} on this device.`,
      { remedy: 'Go on with the defaults of the application until some are rolled out that are for this release.' },
    );
  }

  rejectParameters(model: string, rejection: Rejection): void {
    const { installed } = this.#current(model);
    const { onParametersRejected, onIncident } = this.#options;
    const order = this.#board.reject(installed.model, rejection);
    if (order === 'first' && onParametersRejected) onParametersRejected(installed.model, rejection);
    else if (order === 'first') onIncident(rejected(installed.model, rejection));
    if (order !== 'too-late') return;
    throw new ServeError('REQUEST_INVALID', `${installed.model} does not have the parameters ${rejection.digest}.`, {
      remedy: 'Read those in force (GET …/parameters): others have taken their place meanwhile.',
    });
  }

  /** Stops every model, after the runs that are under way. */
  async close(): Promise<void> {
    for (const { installed } of [...this.#active.values()]) await this.deactivate(installed.model);
    await Promise.all(this.#retiring);
  }

  async #load(candidate: InstalledModel, signal: AbortSignal): Promise<ActiveModel> {
    const loaded = new ActiveModel(candidate, await this.#open(candidate));
    if (!signal.aborted) return loaded;
    await loaded.close();
    throw signal.reason;
  }

  #takeKept({ model, release, loaded }: InstalledModel): ActiveModel | undefined {
    const kept = this.#kept.get(model);
    if (kept?.running.release.digest !== release.digest || kept.running.loaded !== loaded) return undefined;
    this.#kept.delete(model);
    kept.beginAnew();
    return kept;
  }

  /** The candidate may still grow to what its contract allows. */
  #hasRoomBeside({ manifest }: InstalledModel): boolean {
    const { maxMemoryMiB = 0 } = contractFor(manifest, this.#options.hardwareClass) ?? {};
    return freemem() >= maxMemoryMiB * 1024 ** 2;
  }

  #current(model: string, version?: string): ActiveModel {
    const activation = this.#active.get(model);
    if (activation && (version === undefined || version === activation.installed.release.version)) return activation;
    const wanted = version === undefined ? model : `${model} ${version}`;
    throw new ServeError('MODEL_NOT_SERVED', `${JSON.stringify(wanted.slice(0, 200))} is not served here.`, {
      remedy: 'List what is served with POST /v2/repository/index.',
    });
  }

  #retire(activation: ActiveModel): Promise<void> {
    const retired = activation
      .close()
      .catch(this.#options.onIncident)
      .finally(() => this.#retiring.delete(retired));
    this.#retiring.add(retired);
    return retired;
  }
}

/** It never reached the model. */
const isNoFaultOfModel = (error: unknown): boolean => error instanceof ServeError && NEVER_RUN.has(error.code);
const NEVER_RUN: ReadonlySet<ServeCode> = new Set(['SERVE_OVERLOADED', 'REQUEST_EXPIRED', 'REQUEST_CANCELLED']);

/** In this thread. The runtime is loaded when first needed: where all models have threads of their own, the thread of the protocol does without. */
export async function openHere(model: InstalledModel, providers: readonly string[]): Promise<OpenedSession> {
  const { openSession } = await import('../session/session.js');
  return openSession(model, { providers });
}
