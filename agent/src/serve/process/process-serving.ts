import { rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import type { ModelName } from '@drover/shared/ids';
import type { RunningModel } from '@drover/shared/protocol';
import type { Clock } from '../../host/clock.js';
import { availableMemoryMiB, residentMiB, totalMemoryMiB } from '../../host/memory.js';
import type {
  GoldenTested,
  InstalledModel,
  ParameterServing,
  Replaced,
  ServedParameters,
  Serving,
  ServingHealth,
  SwapOutlook,
  Trial,
  TrialServing,
  TrialStanding,
} from '../../update/ports.js';
import { ActivationCounts } from '../activation.js';
import type { LabelDesk } from '../label-desk.js';
import { ParameterBoard, type Rejection } from '../parameters/board.js';
import { rejected } from '../parameters/rejected.js';
import type { InferenceRecord, Recorder } from '../recorder.js';
import type { InferenceAddress, InferenceSettings } from '../protocol/inference-server.js';
import { DesiredTrials } from './desired-trials.js';
import { InferenceLives, type Inheritance } from './inference-lives.js';
import { launchInference, type InferenceProcess } from './inference-process.js';
import type { ListenSettings, Started } from './messages.js';
import { runProbe } from './probe.js';
import { recycled, stoppedFirst } from './outages.js';
import { MemoryNeeds } from './swap-plan.js';
import { answerQuestion } from './remote-desk.js';
import { MemoryCeiling } from './memory-ceiling.js';

/** A port that is 0 is chosen once by the system; restarts keep what it chose. */
export interface ProcessServingOptions extends InferenceSettings {
  readonly providers: readonly string[];
  readonly hardwareClass: string;
  readonly serverVersion: string;
  /** Flags of node for the inference process and the probe. */
  readonly nodeFlags?: readonly string[];
  readonly probeTimeoutMs?: number;
  readonly maxBatchDelayMs?: number | undefined;
  /** That speak the protocol and run what is done at once; two unless given, where there are two cores. */
  readonly protocolThreads?: number | undefined;
  /** What the device can still give; as its kernel says unless given. */
  readonly availableMiB?: () => number;
  /** Resident memory of the inference process above which another takes its place; half of the device's unless given. */
  readonly maxResidentMiB?: number | undefined;
  readonly clock: Clock;
  readonly recorder: Recorder;
  /** Nobody is asked for labels where it is not given. */
  readonly labelDesk?: LabelDesk | undefined;
  /** A crash of the inference process, a model that could not be loaded again, a port that was taken meanwhile. */
  readonly onIncident: (error: unknown) => void;
}

/** A model that shall be served, whatever happens to the process. */
interface Desired {
  readonly installed: InstalledModel;
  readonly counts: ActivationCounts;
  /** Resident memory of the process just before it loaded the model; undefined where that can't be told. */
  readonly baseMiB?: number | undefined;
  /** What it replaced is kept: somebody is still judging it. */
  readonly isJudged: boolean;
}

const DEFAULT_PROBE_TIMEOUT_MS = 120_000;
const DEFAULT_PROTOCOL_THREADS = 2;
const MEMORY_LOOK_MS = 5_000;
/** Of the memory of the device. */
const DEFAULT_CEILING_SHARE = 0.5;
/**
 * Serves from a child process, so that no native crash reaches the supervisor. This module and what it imports never load the ONNX runtime.
 *
 * INVARIANT: `#desired` is what the next life of the process loads; a model enters it only after a process loaded it once.
 */
export class ProcessServing implements Serving, ParameterServing, TrialServing {
  readonly #options: ProcessServingOptions;
  #settings: ListenSettings;
  readonly #desired = new Map<ModelName, Desired>();
  readonly #running = new Map<ModelName, RunningModel>();
  readonly #trials = new DesiredTrials();
  /** What the process has, and the next one begins with. */
  readonly #board = new ParameterBoard();
  readonly #lives: InferenceLives;
  readonly #ceiling: MemoryCeiling;
  readonly #needs: MemoryNeeds;
  readonly #availableMiB: () => number;
  private constructor(options: ProcessServingOptions) {
    this.#options = options;
    const { host, port, socket, sharedMemory, maxBodyBytes, maxBatchDelayMs, providers, serverVersion } = options;
    const { protocolThreads = Math.min(DEFAULT_PROTOCOL_THREADS, availableParallelism()) } = options;
    const { clock, hardwareClass, maxResidentMiB = DEFAULT_CEILING_SHARE * totalMemoryMiB() } = options;
    this.#ceiling = new MemoryCeiling({ maxMiB: maxResidentMiB, clock });
    this.#needs = new MemoryNeeds(hardwareClass);
    this.#availableMiB = options.availableMiB ?? availableMemoryMiB;
    const address = { host, port, socket };
    const bounds = { sharedMemory, maxBodyBytes, maxBatchDelayMs, protocolThreads };
    this.#settings = { ...address, ...bounds, providers, hardwareClass, serverVersion };
    this.#lives = new InferenceLives({
      clock,
      launch: (inheritance) => this.#launch(inheritance),
      onUp: (child, running) => this.#isUp(child, running),
      onDown: () => this.#running.clear(),
      onDeath: (ending) => {
        if (!this.#trials.crashed(ending)) for (const { counts } of this.#desired.values()) counts.crashes += 1;
      },
      isJudged: () => this.#isJudged(),
      onIncident: options.onIncident,
    });
  }

  /** Resolves when the first process listens. @throws ServeError PORT_IN_USE, SERVE_ADDRESS_UNUSABLE, INFERENCE_PROCESS_DIED */
  static async open(options: ProcessServingOptions): Promise<ProcessServing> {
    const serving = new ProcessServing(options);
    serving.#settings = { ...serving.#settings, port: await serving.#lives.begin() };
    void serving.#watchMemory();
    return serving;
  }

  /** Where applications send their requests; the same over all restarts. */
  get address(): InferenceAddress {
    return this.#settings;
  }

  /** Of the inference process that lives now. */
  get pid(): number | undefined {
    return this.#lives.current?.pid;
  }

  async selfTest(candidate: InstalledModel, signal: AbortSignal): Promise<GoldenTested> {
    const { nodeFlags = [], probeTimeoutMs = DEFAULT_PROBE_TIMEOUT_MS } = this.#options;
    const probe = { settings: this.#settings, nodeFlags, timeoutMs: probeTimeoutMs };
    const { needMiB, ...outcome } = await runProbe(candidate, probe, signal);
    this.#needs.measured(candidate, needMiB);
    // What serves already needs no more.
    const { loaded } = this.#desired.get(candidate.model)?.installed ?? {};
    return loaded === candidate.loaded ? outcome : { ...outcome, swap: this.#plan(candidate, false) };
  }

  async activate(candidate: InstalledModel, signal: AbortSignal, replaced: Replaced = 'close'): Promise<RunningModel> {
    const { model } = candidate;
    const previous = this.#desired.get(model);
    // What this replaces may be what keeps the process from coming up: the next life does without it.
    const replacesTheDead = !this.#lives.isUp && this.#desired.delete(model);
    try {
      const { baseMiB, running } = await this.#lives.ask(signal, async (child) => ({
        baseMiB: residentMiB(child.pid),
        running: await this.#swap(child, candidate, replaced),
      }));
      // It came too late: whoever asked has gone back meanwhile, and serves something else.
      if (signal.aborted) {
        await this.#restore(model);
        signal.throwIfAborted();
      }
      const isJudged = replaced === 'keep';
      this.#desired.set(model, { installed: candidate, counts: new ActivationCounts(), baseMiB, isJudged });
      this.#running.set(model, running);
      return running;
    } catch (error) {
      if (replacesTheDead && previous && !this.#desired.has(model)) {
        this.#desired.set(model, previous);
        void this.#reload(previous);
      }
      throw error;
    }
  }

  /** In the place of what serves, or after it. */
  async #swap(child: InferenceProcess, candidate: InstalledModel, replaced: Replaced): Promise<RunningModel> {
    const { clock, onIncident } = this.#options;
    const outlook = this.#plan(candidate, replaced !== 'keep');
    const before = this.#desired.get(candidate.model);
    if (outlook.how === 'beside' || !before) return child.activate(candidate, replaced);
    const stoppedMs = clock.monotonic();
    this.#running.delete(candidate.model);
    try {
      return await child.activate(candidate, 'stop-first');
    } catch (error) {
      await child.activate(before.installed, 'close').then(
        (running) => this.#running.set(candidate.model, running),
        (failure: unknown) => onIncident(failure),
      );
      throw error;
    } finally {
      onIncident(stoppedFirst(candidate, { ...outlook, outageMs: clock.monotonic() - stoppedMs }));
    }
  }

  #plan(candidate: InstalledModel, isWayBack: boolean): SwapOutlook {
    const serving = this.#desired.get(candidate.model)?.installed;
    return this.#needs.plan({ candidate, serving, availableMiB: this.#availableMiB(), isWayBack });
  }

  async dropKept(model: ModelName): Promise<void> {
    const desired = this.#desired.get(model);
    if (desired) this.#desired.set(model, { ...desired, isJudged: false });
    await this.#lives.askIfUp((child) => child.dropKept(model));
  }

  async deactivate(model: ModelName): Promise<void> {
    this.#desired.delete(model);
    this.#running.delete(model);
    await this.#lives.askIfUp((child) => child.deactivate(model));
  }

  async setParameters(model: ModelName, parameters: ServedParameters | undefined, signal: AbortSignal): Promise<void> {
    if (!parameters) {
      this.#board.set(model, undefined);
      await this.#lives.askIfUp((child) => child.setParameters(model, undefined));
      return;
    }
    await this.#lives.ask(signal, async (child) => {
      await child.setParameters(model, parameters);
      // It came too late: whoever asked has gone back meanwhile.
      if (signal.aborted) {
        await child.setParameters(model, this.#board.get(model));
        signal.throwIfAborted();
      }
    });
    this.#board.set(model, parameters);
  }

  parametersInForce(model: ModelName): ServedParameters | undefined {
    return this.#board.inForce(model, this.#running.get(model)?.release.version);
  }

  parametersRejected(model: ModelName): Rejection | undefined {
    return this.#board.rejection(model);
  }

  active(model: ModelName): InstalledModel | undefined {
    return this.#desired.get(model)?.installed;
  }

  async startTrial(trial: Trial, signal: AbortSignal): Promise<RunningModel> {
    const { model } = trial.candidate;
    this.#trials.ended(model);
    const running = await this.#lives.ask(signal, async (child) => {
      const begun = await child.startTrial(trial);
      // It came too late: whoever asked has given it up meanwhile.
      if (signal.aborted) await child.endTrial(model);
      return begun;
    });
    signal.throwIfAborted();
    this.#trials.begun(trial, running);
    return running;
  }

  async endTrial(model: ModelName): Promise<void> {
    this.#trials.ended(model);
    await this.#lives.askIfUp((child) => child.endTrial(model));
  }

  trial(model: ModelName): TrialStanding | undefined {
    return this.#trials.standing(model);
  }

  /** Undefined also while the process is being started again: only its own word counts. */
  running(model: ModelName): RunningModel | undefined {
    return this.#running.get(model);
  }

  health(model: ModelName): ServingHealth {
    const { counts = new ActivationCounts(), baseMiB } = this.#desired.get(model) ?? {};
    const nowMiB = residentMiB(this.pid);
    // A process that was restarted meanwhile is another one; its crash is counted.
    const isSame = counts.crashes === 0 && baseMiB !== undefined && nowMiB !== undefined;
    return { ...counts.health(), ...(isSame ? { memoryMiB: Math.max(0, nowMiB - baseMiB) } : {}) };
  }

  /**
   * Puts another process in the place of the one that serves, which is too large: beside it, so that no request fails, or after it, where there is no room for both. What clients hold in the old one
   * beyond a request (a sequence of a stateful model) ends with it. Does nothing while an update is under way or on trial.
   */
  async recycle(): Promise<void> {
    const { clock, onIncident } = this.#options;
    const child = this.#lives.current;
    if (!child || !this.#lives.isIdle || this.#isJudged()) return;
    const beforeMiB = residentMiB(child.pid);
    const startedMs = clock.monotonic();
    const isBeside = (beforeMiB ?? 0) <= this.#availableMiB();
    await this.#lives.replace(isBeside ? 'beside' : 'after').catch(onIncident);
    const isOther = this.#lives.current !== child;
    // By how much a candidate made the process grow is known of one process only.
    if (isOther)
      for (const [model, desired] of this.#desired) this.#desired.set(model, { ...desired, baseMiB: undefined });
    this.#ceiling.recycled(isOther ? residentMiB(this.pid) : undefined);
    if (isOther)
      onIncident(
        recycled({ beforeMiB, ceilingMiB: this.#ceiling.miB, outageMs: isBeside ? 0 : clock.monotonic() - startedMs }),
      );
  }

  async close(): Promise<void> {
    await this.#lives.close();
    if (this.#settings.socket !== undefined) await rm(this.#settings.socket, { force: true });
  }

  #launch(inheritance: Inheritance): InferenceProcess {
    const child = launchInference({
      ...inheritance,
      settings: this.#settings,
      models: [...this.#desired.values()].map(({ installed }) => installed),
      parameters: this.#board.all(),
      nodeFlags: this.#options.nodeFlags ?? [],
      onRecords: (records) => this.#take(records),
      onInputs: (counts) => this.#options.recorder.inputs(counts),
      onComparisons: (comparisons) => {
        for (const comparison of comparisons) this.#options.recorder.compare(comparison);
      },
      onLabel: (label) => this.#options.recorder.label(label),
      onQuestion: (question) => answerQuestion(this.#options.labelDesk, question),
      onParametersRejected: (model, rejection) => {
        if (this.#board.reject(model, rejection) === 'first') this.#options.onIncident(rejected(model, rejection));
      },
      onTrialLost: (model, error) => {
        if (this.#lives.current === child) this.#trials.lost(model, error.toJSON());
      },
      onIncident: this.#options.onIncident,
    });
    return child;
  }

  #isUp(child: InferenceProcess, running: Started['running']): void {
    this.#running.clear();
    for (const each of running) this.#running.set(each.model, each.running);
    this.#trials.restartIn(child, () => this.#lives.current === child);
  }

  async #watchMemory(): Promise<void> {
    const { clock } = this.#options;
    const { closing: signal } = this.#lives;
    while (!signal.aborted) {
      const residentNowMiB = residentMiB(this.pid);
      if (residentNowMiB !== undefined && this.#ceiling.isPassedBy(residentNowMiB)) await this.recycle();
      await clock.sleep(MEMORY_LOOK_MS, signal).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    }
  }

  /** Somebody is still judging a candidate: what it replaced is kept in this process. */
  #isJudged(): boolean {
    return [...this.#desired.values()].some((each) => each.isJudged);
  }

  async #restore(model: ModelName): Promise<void> {
    const desired = this.#desired.get(model);
    if (desired) await this.#reload(desired);
    else await this.#lives.askIfUp((child) => child.deactivate(model));
  }

  async #reload({ installed }: Desired): Promise<void> {
    try {
      await this.#lives.askIfUp(async (child) => {
        this.#running.set(installed.model, await child.activate(installed, 'close'));
      });
    } catch (error) {
      this.#options.onIncident(error);
    }
  }

  #take(records: readonly InferenceRecord[]): void {
    for (const record of records) {
      const desired = this.#desired.get(record.model);
      if (desired && madeBy(record, desired.installed)) desired.counts.add(record);
      this.#options.recorder.record(record);
    }
  }
}

const madeBy = (record: InferenceRecord, { release, adaptation }: InstalledModel): boolean =>
  record.release.digest === release.digest && record.adaptation === adaptation;
