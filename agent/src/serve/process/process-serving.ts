import { readFileSync } from 'node:fs';
import type { ModelName } from '@drover/shared/ids';
import type { RunningModel } from '@drover/shared/protocol';
import type { Clock } from '../../host/clock.js';
import { systemCode } from '../../host/errors.js';
import type {
  InstalledModel,
  ParameterServing,
  Replaced,
  ServedParameters,
  Serving,
  ServingHealth,
} from '../../update/ports.js';
import { ActivationCounts } from '../activation.js';
import { ServeError } from '../errors.js';
import { ParameterBoard, type Rejection } from '../parameters/board.js';
import { rejected } from '../parameters/rejected.js';
import type { InferenceRecord, Recorder } from '../recorder.js';
import type { Batch } from './batching-recorder.js';
import type { InferenceAddress, InferenceSettings } from '../protocol/inference-server.js';
import { died, launchInference, type InferenceProcess } from './inference-process.js';
import type { ListenSettings } from './messages.js';
import { runProbe } from './probe.js';

/** A port that is 0 is chosen once by the system; restarts keep what it chose. */
export interface ProcessServingOptions extends InferenceSettings {
  readonly providers: readonly string[];
  readonly hardwareClass: string;
  readonly serverVersion: string;
  /** Flags of node for the inference process and the probe. */
  readonly nodeFlags?: readonly string[];
  readonly probeTimeoutMs?: number;
  readonly clock: Clock;
  readonly recorder: Recorder;
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
  readonly isOnTrial: boolean;
}

const DEFAULT_PROBE_TIMEOUT_MS = 120_000;
/** Pauses between restarts: 50 ms, then four times as long each, at most 30 s; a life of 10 s starts over. */
const FIRST_PAUSE_MS = 50;
/** Whoever judges a candidate looks ten times a second, and may want the next life to begin without it. */
const FIRST_PAUSE_ON_TRIAL_MS = 400;
const PAUSE_FACTOR = 4;
const MAX_PAUSE_MS = 30_000;
/** While somebody waits to activate another model, which may be the cure. */
const MAX_AWAITED_PAUSE_MS = 1_000;
const STABLE_LIFE_MS = 10_000;
/** On x86-64 and on 64-bit ARM boards; a kernel with larger pages makes the figure too small, never too large. */
const PAGE_BYTES = 4096;

/**
 * Serves from a child process, so that no native crash reaches the supervisor. This module and what it imports never load the ONNX runtime.
 *
 * INVARIANT: `#desired` is what the next life of the process loads; a model enters it only after a process loaded it once.
 */
export class ProcessServing implements Serving, ParameterServing {
  readonly #options: ProcessServingOptions;
  #settings: ListenSettings;
  readonly #desired = new Map<ModelName, Desired>();
  readonly #running = new Map<ModelName, RunningModel>();
  /** What the process has, and the next one begins with. */
  readonly #board = new ParameterBoard();
  readonly #waiters = new Set<() => void>();
  readonly #closing = new AbortController();
  #process: InferenceProcess | undefined;
  #up = false;
  #quickDeaths = 0;
  #pause = new AbortController();

  private constructor(options: ProcessServingOptions) {
    this.#options = options;
    const { host, port, socket, sharedMemory, maxBodyBytes, providers, hardwareClass, serverVersion } = options;
    this.#settings = { host, port, socket, sharedMemory, maxBodyBytes, providers, hardwareClass, serverVersion };
  }

  /** Resolves when the first process listens. @throws ServeError PORT_IN_USE, SERVE_ADDRESS_UNUSABLE, INFERENCE_PROCESS_DIED */
  static async open(options: ProcessServingOptions): Promise<ProcessServing> {
    const serving = new ProcessServing(options);
    const child = serving.#launch();
    try {
      const { port } = await child.started;
      serving.#settings = { ...serving.#settings, port };
    } catch (error) {
      await child.exited;
      throw error;
    }
    serving.#isUp();
    void serving.#superviseFrom(child);
    return serving;
  }

  /** Where applications send their requests; the same over all restarts. */
  get address(): InferenceAddress {
    return this.#settings;
  }

  /** Of the inference process that lives now. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  selfTest(candidate: InstalledModel, signal: AbortSignal): ReturnType<Serving['selfTest']> {
    const { nodeFlags = [], probeTimeoutMs = DEFAULT_PROBE_TIMEOUT_MS } = this.#options;
    return runProbe(candidate, { settings: this.#settings, nodeFlags, timeoutMs: probeTimeoutMs }, signal);
  }

  async activate(candidate: InstalledModel, signal: AbortSignal, replaced: Replaced = 'close'): Promise<RunningModel> {
    const { model } = candidate;
    const previous = this.#desired.get(model);
    // What this replaces may be what keeps the process from coming up: the next life does without it.
    const replacesTheDead = !this.#up && this.#desired.delete(model);
    try {
      const child = await this.#whenUp(signal);
      const baseMiB = residentMiB(child.pid);
      const running = await child.activate(candidate, replaced);
      // It came too late: whoever asked has gone back meanwhile, and serves something else.
      if (signal.aborted) {
        await this.#restore(model);
        signal.throwIfAborted();
      }
      const isOnTrial = replaced === 'keep';
      this.#desired.set(model, { installed: candidate, counts: new ActivationCounts(), baseMiB, isOnTrial });
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

  async dropKept(model: ModelName): Promise<void> {
    const desired = this.#desired.get(model);
    if (desired) this.#desired.set(model, { ...desired, isOnTrial: false });
    if (this.#up) await this.#process?.dropKept(model);
  }

  async deactivate(model: ModelName): Promise<void> {
    this.#desired.delete(model);
    this.#running.delete(model);
    if (this.#up) await this.#process?.deactivate(model);
  }

  async setParameters(model: ModelName, parameters: ServedParameters | undefined, signal: AbortSignal): Promise<void> {
    if (!parameters) {
      this.#board.set(model, undefined);
      if (this.#up) await this.#process?.setParameters(model, undefined);
      return;
    }
    const child = await this.#whenUp(signal);
    await child.setParameters(model, parameters);
    // It came too late: whoever asked has gone back meanwhile.
    if (signal.aborted) {
      await child.setParameters(model, this.#board.get(model));
      signal.throwIfAborted();
    }
    this.#board.set(model, parameters);
  }

  parametersInForce(model: ModelName): ServedParameters | undefined {
    return this.#board.inForce(model, this.#running.get(model)?.release.version);
  }

  parametersRejected(model: ModelName): Rejection | undefined {
    return this.#board.rejection(model);
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

  async close(): Promise<void> {
    this.#closing.abort(closed());
    this.#pause.abort();
    for (const wake of this.#waiters) wake();
    await this.#process?.stop();
  }

  #launch(): InferenceProcess {
    const child = launchInference({
      settings: this.#settings,
      models: [...this.#desired.values()].map(({ installed }) => installed),
      parameters: this.#board.all(),
      nodeFlags: this.#options.nodeFlags ?? [],
      onBatch: (batch) => this.#takeBatch(batch),
      onParametersRejected: (model, rejection) => {
        if (this.#board.reject(model, rejection) === 'first') this.#options.onIncident(rejected(model, rejection));
      },
      onIncident: this.#options.onIncident,
    });
    this.#process = child;
    return child;
  }

  /** Life after life, until closed. */
  async #superviseFrom(first: InferenceProcess): Promise<void> {
    const { clock, onIncident } = this.#options;
    let child = first;
    let bornMs = clock.monotonic();
    for (;;) {
      const ending = await child.exited;
      const wasUp = this.#up;
      this.#up = false;
      this.#running.clear();
      if (this.#isClosing()) return;
      for (const { counts } of this.#desired.values()) counts.crashes += 1;
      if (wasUp) onIncident(died(ending));
      this.#quickDeaths = clock.monotonic() - bornMs >= STABLE_LIFE_MS ? 0 : this.#quickDeaths + 1;
      await this.#pauseBeforeRestart();
      if (this.#isClosing()) return;
      bornMs = clock.monotonic();
      child = this.#launch();
      await child.started.then(
        ({ running, failed }) => {
          for (const each of running) this.#running.set(each.model, each.running);
          for (const { error } of failed) onIncident(error);
          this.#isUp();
        },
        (error: unknown) => onIncident(error),
      );
    }
  }

  /** Exponential; jittered over its upper half, so that devices that fell together do not rise together. */
  async #pauseBeforeRestart(): Promise<void> {
    const capMs = this.#waiters.size > 0 ? MAX_AWAITED_PAUSE_MS : MAX_PAUSE_MS;
    const isJudged = [...this.#desired.values()].some(({ isOnTrial }) => isOnTrial);
    const firstMs = isJudged ? FIRST_PAUSE_ON_TRIAL_MS : FIRST_PAUSE_MS;
    const ceilingMs = Math.min(capMs, firstMs * PAUSE_FACTOR ** Math.max(0, this.#quickDeaths - 1));
    this.#pause = new AbortController();
    await this.#options.clock
      .sleep(ceilingMs * (0.5 + Math.random() / 2), this.#pause.signal)
      .catch((error: unknown) => {
        if (!this.#pause.signal.aborted) throw error;
      });
  }

  #isClosing(): boolean {
    return this.#closing.signal.aborted;
  }

  #isUp(): void {
    this.#up = true;
    for (const wake of this.#waiters) wake();
  }

  /** Whoever waits also ends the pause before the next restart. */
  async #whenUp(signal: AbortSignal): Promise<InferenceProcess> {
    while (!(this.#up && this.#process)) {
      signal.throwIfAborted();
      this.#closing.signal.throwIfAborted();
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiters.delete(wake);
          signal.removeEventListener('abort', wake);
          resolve();
        };
        this.#waiters.add(wake);
        signal.addEventListener('abort', wake, { once: true });
        this.#pause.abort();
      });
    }
    signal.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    return this.#process;
  }

  async #restore(model: ModelName): Promise<void> {
    const desired = this.#desired.get(model);
    if (desired) await this.#reload(desired);
    else if (this.#up) await this.#process?.deactivate(model);
  }

  async #reload({ installed }: Desired): Promise<void> {
    if (!this.#up || !this.#process) return;
    try {
      this.#running.set(installed.model, await this.#process.activate(installed, 'close'));
    } catch (error) {
      this.#options.onIncident(error);
    }
  }

  #takeBatch({ records, labels }: Batch): void {
    for (const record of records) {
      const desired = this.#desired.get(record.model);
      if (desired && madeBy(record, desired.installed)) desired.counts.add(record);
      this.#options.recorder.record(record);
    }
    for (const label of labels) this.#options.recorder.label(label);
  }
}

/** The second number of statm counts resident pages (proc_pid_statm(5)); undefined on systems without it, and when the process is gone. */
function residentMiB(pid: number | undefined): number | undefined {
  try {
    const pages = Number(readFileSync(`/proc/${pid ?? 0}/statm`, 'utf8').split(' ')[1]);
    return Number.isSafeInteger(pages) ? (pages * PAGE_BYTES) / 1024 ** 2 : undefined;
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ESRCH') return undefined;
    throw error;
  }
}

const madeBy = (record: InferenceRecord, { release, adaptation }: InstalledModel): boolean =>
  record.release.digest === release.digest && record.adaptation === adaptation;

const closed = (): ServeError =>
  new ServeError('SERVE_CLOSED', 'Serving was stopped.', { remedy: 'Start the agent again.' });
