import type { ModelName } from '@drover/shared/ids';
import { contractFor } from '@drover/shared/manifest';
import type { RunningModel } from '@drover/shared/protocol';
import type { Clock } from '../../host/clock.js';
import { availableMemoryMiB } from '../../host/memory.js';
import type {
  GoldenTested,
  InstalledModel,
  ParameterServing,
  Replaced,
  ServedParameters,
  Serving,
  ServingHealth,
  Trial,
  TrialServing,
  TrialStanding,
} from '../../update/ports.js';
import { ActivationCounts } from '../activation.js';
import { notServed, ServeError } from '../errors.js';
import { isNoFaultOfModel, isUnwanted } from './fault.js';
import { ParameterBoard, type Rejection } from '../parameters/board.js';
import type { LabelDesk, LabelRequest } from '../label-desk.js';
import { rejected } from '../parameters/rejected.js';
import type { LabelOutcome, Recorder } from '../recorder.js';
import { readGoldenVectors, selfTest } from '../session/golden.js';
import type { TensorMap } from '../tensors/tensor.js';
import { copyOf } from '../tensors/copies.js';
import type { Compared, ComparingSession, ForeignComparison } from '../trials/compared.js';
import type { RunningTrial } from '../trials/running-trial.js';
import { ShadowTrial } from '../trials/shadow-trial.js';
import { SplitTrial } from '../trials/split-trial.js';
import { Trials } from '../trials/trials.js';
import { ActiveModel, type Grantable, type PlacedModel } from './active-model.js';
import { checkInputs } from './check-inputs.js';
import { classesOf, demandAnswered, demandHeld, truthOf, type GivenLabel, type HeldAnswer } from './feedback.js';
import { inputCounts, verifyContract } from './input-contract.js';
import { featureRows, inferencesIn, recordOf, servedBy } from './observation.js';
import { openHere, openShadowHere } from './open-here.js';
import type { InferenceRequest, InferenceResponse, ServedModels } from './served-models.js';

export interface InlineServingOptions {
  readonly providers: readonly string[];
  readonly hardwareClass: string;
  readonly clock: Clock;
  readonly recorder: Recorder;
  /** A process before this one served, and has ended with all the state it had. */
  readonly isRestart?: boolean;
  /** Where labels are asked for; nowhere unless given. */
  readonly labelDesk?: LabelDesk | undefined;
  /** Where sessions live; in this thread unless told otherwise. */
  readonly open?: (model: InstalledModel) => Promise<PlacedModel>;
  /** Where the session of a release lives that answers on trial; like the others unless told otherwise. `lost` is called when it ends by itself. */
  readonly openTrial?: (candidate: InstalledModel, lost: (error: ServeError) => void) => Promise<PlacedModel>;
  /** The same of one that is only compared. */
  readonly openShadow?: (trial: Trial, lost: (error: ServeError) => void) => Promise<ComparingSession>;
  readonly onTrialLost?: (model: ModelName, error: ServeError) => void;
  /** An application has refused the parameters that it was given. In place of an incident. */
  readonly onParametersRejected?: (model: ModelName, rejection: Rejection) => void;
  /** Before ground truth is joined: resolves when all was recorded that other threads have served. */
  readonly settle?: () => Promise<void>;
  /** A session that was replaced could not be closed. */
  readonly onIncident: (error: unknown) => void;
}

/**
 * Serves models from this process: in the simulator as the whole of serving, on a device inside the inference process.
 *
 * INVARIANT: a request is counted, run and recorded by one activation, the one that was current when it arrived; an activation's session closes
 * only after its last run ended (or hung for longer than the drain's time-out).
 */
export class InlineServing implements Serving, ParameterServing, TrialServing, ServedModels {
  readonly #options: InlineServingOptions;
  readonly #open: (model: InstalledModel) => Promise<PlacedModel>;
  readonly #active = new Map<string, ActiveModel>();
  /** Loaded and idle, for the way back from a candidate. */
  readonly #kept = new Map<string, ActiveModel>();
  /** Were served before, by this process. */
  readonly #hadState = new Set<string>();
  readonly #trials: Trials;
  readonly #retiring = new Set<Promise<void>>();
  /** Stopped, and the next release of them is not loaded yet. */
  readonly #between = new Set<string>();
  readonly #board = new ParameterBoard();

  constructor(options: InlineServingOptions) {
    this.#options = options;
    this.#open = options.open ?? ((model) => openHere(model, options.providers));
    this.#trials = new Trials({
      begin: (trial, signal, lost) => this.#beginTrial(trial, signal, lost),
      serving: (model) => this.#active.get(model),
      onLost: options.onTrialLost ?? (() => undefined),
    });
  }

  async selfTest(candidate: InstalledModel, signal: AbortSignal): Promise<GoldenTested> {
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
    if (replaced === 'stop-first') await this.#stopFirst(model);
    const activation =
      this.#takeKept(candidate) ?? (await this.#load(candidate, signal).finally(() => this.#between.delete(model)));
    const before = this.#active.get(model);
    activation.begin({ isSuccessor: this.#hadState.has(model) || this.#options.isRestart === true });
    this.#hadState.add(model);
    this.#active.set(model, activation);
    before?.giveWay();
    this.#trials.attachTo(activation);
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

  grantable(model: ModelName): Grantable | undefined {
    return this.#active.get(model)?.grantable;
  }

  find(model: string, version?: string): InstalledModel {
    return this.#current(model, version).installed;
  }

  async infer(request: InferenceRequest): Promise<InferenceResponse> {
    const activation = this.#current(request.model, request.version);
    const { installed, trial } = activation;
    const parameters = this.#board.inForce(request.model, installed.release.version);
    checkInputs(installed, request.inputs);
    this.#holdToContract(activation, request.inputs);
    // Whoever names a version gets that one.
    if (
      trial?.mode === 'split' &&
      request.version === undefined &&
      trial.takes(request.splitKey ?? request.requestId)
    ) {
      const answer = await this.#answerOnTrial(trial, installed, request);
      if (answer) return answer;
    }
    const note = this.#noting(activation, request);
    try {
      const compare = trial?.compareWith(installed, request.inputs);
      const outputs = await activation.run(request);
      const latencyUs = note(outputs);
      compare?.(outputs, latencyUs);
      return { version: installed.release.version, outputs, parameters };
    } catch (error) {
      if (!isNoFaultOfModel(error)) note(undefined);
      throw error;
    } finally {
      if (trial?.mode === 'shadow') trial.requestEnds();
    }
  }

  /** Undefined where the candidate failed: the release that serves answers then. */
  async #answerOnTrial(
    trial: SplitTrial,
    active: InstalledModel,
    request: InferenceRequest,
  ): Promise<InferenceResponse | undefined> {
    const { candidate } = trial;
    const { version } = candidate.installed.release;
    const note = this.#noting(candidate, request);
    try {
      this.#holdToContract(candidate, request.inputs);
      const outputs = await candidate.run({ ...request, inputs: copyOf(request.inputs) });
      trial.note(active, { outcome: 'answered', candidateLatencyUs: note(outputs) });
      return { version, outputs, parameters: this.#board.inForce(request.model, version) };
    } catch (error) {
      if (isUnwanted(error)) throw error;
      const isFault = !isNoFaultOfModel(error);
      if (isFault) note(undefined);
      trial.note(active, { outcome: isFault ? 'failed' : 'dropped' });
      return undefined;
    }
  }

  /** @throws ServeError INPUT_CONTRACT_VIOLATED */
  #holdToContract({ installed, inputChecker }: ActiveModel, inputs: TensorMap): void {
    if (!inputChecker) return;
    const { clock, recorder } = this.#options;
    const checked = inputChecker.check(inputs);
    recorder.inputs(inputCounts(servedBy(installed), checked, clock.now()));
    verifyContract(installed, checked);
  }

  /** Begins to watch a run; what it returns is called with the outputs, or without where it failed, and says how long it took. */
  #noting({ installed, counts }: ActiveModel, request: InferenceRequest): (outputs: TensorMap | undefined) => number {
    const { clock, recorder } = this.#options;
    const atMs = clock.now();
    const startedMs = performance.now();
    const features = featureRows(request.inputs);
    const inferences = inferencesIn(request.inputs);
    return (outputs) => {
      const latencyUs = Math.round((performance.now() - startedMs) * 1_000);
      counts.add({ failed: outputs === undefined, latencyUs });
      const { requestId } = request;
      recorder.record(recordOf(installed, { requestId, atMs, latencyUs, inferences, features, outputs }));
      return latencyUs;
    };
  }

  async #beginTrial(trial: Trial, signal: AbortSignal, lost: (error: ServeError) => void): Promise<RunningTrial> {
    const { recorder, providers, openTrial = this.#open, openShadow } = this.#options;
    if (trial.terms.mode === 'split') {
      const candidate = await this.#load(trial.candidate, signal, (each) => openTrial(each, lost));
      return new SplitTrial(trial, { candidate, recorder, retire: () => this.#retire(candidate) });
    }
    const session = await (openShadow ? openShadow(trial, lost) : openShadowHere(trial, providers));
    if (!signal.aborted) return new ShadowTrial(trial, { session, recorder });
    await session.close();
    throw signal.reason;
  }

  active(model: ModelName): InstalledModel | undefined {
    return this.#active.get(model)?.installed;
  }

  startTrial(trial: Trial, signal: AbortSignal): Promise<RunningModel> {
    return this.#trials.start(trial, signal);
  }

  endTrial(model: ModelName): Promise<void> {
    return this.#trials.end(model);
  }

  trial(model: ModelName): TrialStanding | undefined {
    return this.#trials.standing(model);
  }

  /** Of the candidate that is tried in the shadow, and what another thread has answered. @throws ServeError MODEL_NOT_SERVED where it is tried no more; what the session throws */
  compare({ model, candidate, inputs, answered }: ForeignComparison): Promise<Compared> {
    const shadow = this.#active.get(model)?.trial;
    if (shadow?.mode !== 'shadow' || shadow.trial.candidate.release.digest !== candidate) throw notServed(model);
    return shadow.compareForeign(inputs, answered);
  }

  async feedback(model: string, requestId: string, labels: readonly GivenLabel[]): Promise<LabelOutcome> {
    const { installed } = this.#current(model);
    const truth = truthOf(installed, labels);
    const { recorder, clock, settle } = this.#options;
    await settle?.();
    const outcome = await recorder.label({ model: installed.model, requestId, atMs: clock.now(), ...truth });
    return demandHeld(outcome, requestId, labels.length);
  }

  async labelRequests(model: string): Promise<readonly LabelRequest[]> {
    const { installed } = this.#current(model);
    return (await this.#options.labelDesk?.labelRequests(installed.model)) ?? [];
  }

  async answerLabel(model: string, id: string, given: GivenLabel): Promise<HeldAnswer> {
    const { installed } = this.#current(model);
    const { clock, labelDesk } = this.#options;
    const [label = null] = given === null ? [] : classesOf(installed, [given]);
    const answer = { id, model: installed.model, label, atMs: clock.now() };
    return demandAnswered((await labelDesk?.answerLabel(answer)) ?? 'unknown', id);
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

  /** Another process serves from now on. What was taken before is answered, and no sequence goes on here. */
  giveWay(): void {
    for (const activation of this.#active.values()) activation.giveWay();
  }

  /** Stops every model, after the runs that are under way. */
  async close(): Promise<void> {
    await this.#trials.close();
    for (const { installed } of [...this.#active.values()]) await this.deactivate(installed.model);
    await Promise.all(this.#retiring);
  }

  async #stopFirst(model: ModelName): Promise<void> {
    this.#between.add(model);
    await this.deactivate(model);
  }

  async #load(candidate: InstalledModel, signal: AbortSignal, open = this.#open): Promise<ActiveModel> {
    const loaded = new ActiveModel(candidate, await open(candidate), this.#options.clock);
    if (!signal.aborted) return loaded;
    await loaded.close();
    throw signal.reason;
  }

  #takeKept({ model, release, loaded }: InstalledModel): ActiveModel | undefined {
    const kept = this.#kept.get(model);
    if (kept?.running.release.digest !== release.digest || kept.running.loaded !== loaded) return undefined;
    this.#kept.delete(model);
    return kept;
  }

  /** The candidate may still grow to what its contract allows. */
  #hasRoomBeside({ manifest }: InstalledModel): boolean {
    const { maxMemoryMiB = 0 } = contractFor(manifest, this.#options.hardwareClass) ?? {};
    return availableMemoryMiB() >= maxMemoryMiB;
  }

  #current(model: string, version?: string): ActiveModel {
    const activation = this.#active.get(model);
    if (activation && (version === undefined || version === activation.installed.release.version)) return activation;
    if (this.#between.has(model)) {
      throw new ServeError('MODEL_BEING_REPLACED', `Another release of ${model} is being loaded.`, {
        remedy: 'Send the request again in a moment.',
      });
    }
    throw notServed(model, version);
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
