import type { CodedErrorJson } from '@drover/shared/coded-error';
import { digestHex } from '@drover/shared/ids';
import type { ProviderReport, RunningModel } from '@drover/shared/protocol';
import { seededRandom } from '@drover/shared/statistics';
import type { InstalledModel, Trial, TrialStanding } from '../../update/ports.js';
import { runningModel } from '../activation.js';
import { notServed, ServeError } from '../errors.js';
import { servedBy } from '../inline/observation.js';
import type { Comparison, Recorder } from '../recorder.js';
import type { TensorMap } from '../tensors/tensor.js';
import { bytesIn, copyOf } from '../tensors/copies.js';
import type { Compared, ComparingSession } from './compared.js';
import { MeetingBudget } from './meeting-budget.js';
import type { Compare } from './running-trial.js';

/** Requests that may wait for the candidate on each thread, and what they may hold; more are left out and counted. */
const MAX_WAITING = 8;
const MAX_WAITING_BYTES = 64 * 1024 ** 2;

/** The run that is under way when a trial ends is waited for that long, at the lowest priority. */
const LAST_RUN_TIMEOUT_MS = 30_000;

const noop = (): void => undefined;

/** The thread that has the session has ended the trial, and this one was not told yet. */
const isNotTried = (error: unknown): boolean => error instanceof ServeError && error.code === 'MODEL_NOT_SERVED';

/** One request that was answered, for the candidate to be compared on. */
interface Answered {
  readonly active: InstalledModel;
  readonly inputs: TensorMap;
  readonly outputs: TensorMap;
  readonly bytes: number;
  readonly latencyUs: number;
}

/** A trial on several threads: one has the session, and all of them the same bound. */
export interface SharedShadow {
  readonly trial: Trial;
  readonly provider: ProviderReport;
  /** Of the meeting budget. */
  readonly meetings: SharedArrayBuffer;
}

export interface ShadowOptions {
  readonly session: ComparingSession;
  readonly recorder: Pick<Recorder, 'compare'>;
}

/**
 * A candidate that runs on a sample of what was answered, in its own time.
 *
 * INVARIANT: no request waits for it, and few ever meet a run of it; of one that is not in the sample nothing is copied; what waits is bounded in number and size.
 */
export class ShadowTrial {
  readonly mode = 'shadow';
  readonly trial: Trial;
  readonly running: RunningModel;
  lost: CodedErrorJson | undefined;
  readonly #session: ComparingSession;
  readonly #recorder: Pick<Recorder, 'compare'>;
  readonly #budget: MeetingBudget;
  readonly #random: () => number;
  readonly #waiting: Answered[] = [];
  #waitingBytes = 0;
  #work: Promise<void> | undefined;
  /** Of what other threads have answered. */
  readonly #foreign = new Set<Promise<void>>();
  #isEnded = false;

  constructor(trial: Trial, { session, recorder }: ShadowOptions) {
    this.trial = trial;
    this.#session = session;
    this.#recorder = recorder;
    this.#budget = new MeetingBudget(session.meetings);
    this.running = { ...runningModel(trial.candidate, session.provider), trial: trial.terms };
    // The sample is the same again for the same requests in the same order, and has nothing to do with what stands in them.
    const random = seededRandom(Number.parseInt(digestHex(trial.candidate.release.digest).slice(0, 8), 16));
    this.#random = () => random.next();
  }

  get standing(): TrialStanding {
    return this.lost ? { running: undefined, lost: this.lost } : { running: this.running };
  }

  /** Where another thread serves the model as well: what it needs to run this trial beside, with this session. */
  get shared(): SharedShadow {
    return { trial: this.trial, provider: this.#session.provider, meetings: this.#budget.shared };
  }

  /** What another thread has answered; that thread has counted who meets it. @throws what the session throws; ServeError MODEL_NOT_SERVED when that is lost */
  compareForeign(inputs: TensorMap, answered: TensorMap): Promise<Compared> {
    const compared = this.#session.compare(inputs, answered).catch((error: unknown) => {
      throw this.lost ? notServed(this.trial.candidate.model) : error;
    });
    const ended: Promise<void> = compared.then(noop, noop).then(() => void this.#foreign.delete(ended));
    this.#foreign.add(ended);
    return compared;
  }

  /** When a request begins: undefined where it is not in the sample, too much waits already, or enough have met a run. Its end is told by `requestEnds`, in any case. */
  compareWith(active: InstalledModel, given: TensorMap): Compare | undefined {
    this.#budget.requestBegins();
    if (this.#random() >= this.trial.terms.share) return undefined;
    if (!this.#budget.mayBegin() || this.#isFull(bytesIn(given))) {
      this.#note(active, { outcome: 'dropped' });
      return undefined;
    }
    const inputs = copyOf(given);
    return (outputs, latencyUs) =>
      this.#enter({ active, inputs, outputs, latencyUs, bytes: bytesIn(inputs) + bytesIn(outputs) });
  }

  requestEnds(): void {
    this.#budget.requestEnds();
  }

  /** What waits is left out. A run of another thread's session is waited for by that thread. */
  async close(): Promise<void> {
    this.#isEnded = true;
    for (const answered of this.#waiting.splice(0)) this.#drop(answered);
    if (!this.#session.meetings) await this.#lastRun();
    await this.#session.close();
  }

  /** A thread that is ended within a run takes the process with it: the runtime throws where nobody can catch. */
  async #lastRun(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const hung = new Promise<void>((resolve) => (timer = setTimeout(resolve, LAST_RUN_TIMEOUT_MS)));
    await Promise.race([Promise.all([this.#work, ...this.#foreign]), hung]);
    clearTimeout(timer);
  }

  #isFull(bytes: number): boolean {
    return this.#waiting.length >= MAX_WAITING || this.#waitingBytes + bytes > MAX_WAITING_BYTES;
  }

  #enter(answered: Answered): void {
    if (this.lost) return;
    if (this.#isEnded || this.#isFull(answered.bytes)) {
      this.#drop(answered);
      return;
    }
    this.#waiting.push(answered);
    this.#waitingBytes += answered.bytes;
    // After the answer has gone out: handing over copies it.
    this.#work ??= new Promise<void>((resolve) => setImmediate(resolve)).then(() => this.#compareAll());
  }

  async #compareAll(): Promise<void> {
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) {
      this.#waitingBytes -= next.bytes;
      await this.#compare(next);
    }
    this.#waitingBytes = 0;
    this.#work = undefined;
  }

  async #compare(answered: Answered): Promise<void> {
    if (!this.#budget.begin()) {
      this.#drop(answered);
      return;
    }
    const { active, inputs, outputs, latencyUs: activeLatencyUs } = answered;
    try {
      const { latencyUs, ...compared } = await this.#session.compare(inputs, outputs);
      this.#note(active, { outcome: 'compared', activeLatencyUs, candidateLatencyUs: latencyUs, ...compared });
    } catch (error) {
      // Its words are those of the runtime; the count is what is judged by. The end of a thread is told elsewhere.
      if (this.#isEnded || this.lost || isNotTried(error)) return;
      this.#note(active, { outcome: 'failed', activeLatencyUs });
    } finally {
      this.#budget.end();
    }
  }

  #drop({ active, latencyUs }: Answered): void {
    this.#note(active, { outcome: 'dropped', activeLatencyUs: latencyUs });
  }

  #note(active: InstalledModel, what: Omit<Comparison, 'active' | 'candidate' | 'mode'>): void {
    const candidate = this.trial.candidate.release;
    this.#recorder.compare({ active: servedBy(active), candidate, mode: 'shadow', ...what });
  }
}
