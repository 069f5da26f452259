import { ServeError } from '../errors.js';
import type { ModelSession } from '../session/model-session.js';
import type { TensorMap } from '../tensors/tensor.js';
import { fitTogether, joinRows, rowsOf, splitRows } from './batch.js';

/** 1 is the highest (Triton's schedule-policy extension). */
const DEFAULT_PRIORITY = 5;
export const MAX_PRIORITY = 10;

/** Whether a client still wants its answer. An AbortSignal is one. */
export interface ClientSignal {
  readonly aborted: boolean;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

export interface RunRequest {
  readonly inputs: TensorMap;
  readonly priority?: number | undefined;
  /** By `performance.now()`: nobody wants the answer any more. */
  readonly deadlineMs?: number | undefined;
  /** The client has gone. */
  readonly signal?: ClientSignal | undefined;
}

export interface Batching {
  /** Rows in one run. */
  readonly maxRows: number;
  /** How long a run may wait for more of them, while a session is free. */
  readonly maxDelayMs: number;
}

/** Further sessions, opened when requests wait for one. */
export interface Growth {
  readonly maxSessions: number;
  /** Resolves with undefined where it failed, which is told elsewhere: then there will be no more. */
  readonly open: () => Promise<ModelSession | undefined>;
}

export interface RunQueueOptions {
  readonly session: ModelSession;
  /** Runs that the session may be given at once; 1 unless given. */
  readonly atOnce?: number | undefined;
  readonly growth?: Growth | undefined;
  /** Requests that may wait; more are refused. */
  readonly maxWaiting: number;
  /** Without it every request is a run of its own. */
  readonly batching?: Batching | undefined;
}

interface Waiting extends RunRequest {
  readonly priority: number;
  readonly rows: number | undefined;
  readonly sinceMs: number;
  readonly resolve: (outputs: TensorMap) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Hands the requests of one model to its sessions: bounded, by priority and age, several in one run where the model has a batch axis. A request whose time
 * is over, or whose client has gone, never reaches a session; what runs is not broken off, since the runtime cannot.
 */
export class RunQueue {
  readonly #sessions: ModelSession[];
  readonly #free: ModelSession[];
  #growth: Growth | undefined;
  #growing: Promise<void> | undefined;
  readonly #maxWaiting: number;
  readonly #batching: Batching | undefined;
  /** By priority, then by age. */
  readonly #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor({ session, atOnce = 1, growth, maxWaiting, batching }: RunQueueOptions) {
    this.#sessions = [session];
    this.#free = Array.from({ length: atOnce }, () => session);
    this.#growth = growth;
    this.#maxWaiting = maxWaiting;
    this.#batching = batching;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Closes the sessions; what still runs in them fails. */
  async close(): Promise<void> {
    this.#growth = undefined;
    clearTimeout(this.#timer);
    await this.#growing;
    await Promise.all(this.#sessions.map((session) => session.close()));
  }

  /** @throws ServeError SERVE_OVERLOADED, REQUEST_EXPIRED, REQUEST_CANCELLED; what the session throws */
  async run(request: RunRequest): Promise<TensorMap> {
    const idle = this.#waiting.length === 0 && !this.#batching?.maxDelayMs ? this.#free.pop() : undefined;
    if (idle) return this.#runAtOnce(idle, request);
    if (this.#waiting.length >= this.#maxWaiting) throw overloaded(this.#maxWaiting);
    const { signal } = request;
    const dropGone = (): void => this.#dropGone();
    signal?.addEventListener('abort', dropGone);
    try {
      return await new Promise((resolve, reject) => this.#enter(request, { resolve, reject }));
    } finally {
      // A stream asks many times with one signal.
      signal?.removeEventListener('abort', dropGone);
    }
  }

  /** What the queue would do with it as well, without the cost of a place in it. */
  async #runAtOnce(session: ModelSession, { inputs, signal, deadlineMs = Infinity }: RunRequest): Promise<TensorMap> {
    try {
      if (signal?.aborted) throw cancelled();
      if (deadlineMs <= performance.now()) throw expired();
      return await session.run(inputs);
    } finally {
      this.#free.push(session);
      if (this.#waiting.length > 0) this.#advance();
    }
  }

  #enter(request: RunRequest, settle: Pick<Waiting, 'resolve' | 'reject'>): void {
    const { priority = DEFAULT_PRIORITY, inputs } = request;
    const rows = this.#batching && rowsOf(inputs);
    const place = this.#waiting.findLastIndex((other) => other.priority <= priority);
    this.#waiting.splice(place + 1, 0, { ...request, ...settle, priority, rows, sinceMs: performance.now() });
    this.#advance();
  }

  #dropGone(): void {
    const nowMs = performance.now();
    for (let index = this.#waiting.length - 1; index >= 0; index--) {
      const { signal, deadlineMs = Infinity, reject } = this.#waiting[index] as Waiting;
      if (!signal?.aborted && deadlineMs > nowMs) continue;
      this.#waiting.splice(index, 1);
      reject(signal?.aborted ? cancelled() : expired());
    }
  }

  #advance(): void {
    this.#dropGone();
    while (this.#waiting.length > 0) {
      const session = this.#free.pop();
      if (!session) {
        this.#grow();
        break;
      }
      const batch = this.#nextBatch();
      if (!batch) {
        this.#free.push(session);
        break;
      }
      void this.#runBatch(session, batch);
    }
    this.#wakeLater();
  }

  #grow(): void {
    const { maxSessions, open } = this.#growth ?? {};
    if (!open || this.#growing || this.#sessions.length >= (maxSessions ?? 1)) return;
    this.#growing = open().then((session) => {
      this.#growing = undefined;
      if (!session) {
        this.#growth = undefined;
        return;
      }
      this.#sessions.push(session);
      this.#free.push(session);
      this.#advance();
    });
  }

  /** The first in the queue, and those behind it that fit beside it; undefined while it is worth waiting for more. */
  #nextBatch(): Waiting[] | undefined {
    const [first] = this.#waiting;
    if (!first) return undefined;
    if (!this.#batching || first.rows === undefined) return this.#waiting.splice(0, 1);
    const { maxRows, maxDelayMs } = this.#batching;
    const batch = [first];
    let rows = first.rows;
    for (const other of this.#waiting.slice(1)) {
      if (other.rows === undefined || rows + other.rows > maxRows || !fitTogether(first.inputs, other.inputs)) continue;
      batch.push(other);
      rows += other.rows;
    }
    if (rows < maxRows && performance.now() < first.sinceMs + maxDelayMs) return undefined;
    for (const taken of batch) this.#waiting.splice(this.#waiting.indexOf(taken), 1);
    return batch;
  }

  async #runBatch(session: ModelSession, batch: readonly Waiting[]): Promise<void> {
    try {
      const answers = await runTogether(session, batch);
      for (const [index, { resolve }] of batch.entries()) resolve(answers[index] ?? {});
    } catch (error) {
      if (batch.length === 1) batch[0]?.reject(error);
      // Perhaps the values of one of them are to blame; the others shall not suffer for it.
      else for (const each of batch) await session.run(each.inputs).then(each.resolve, each.reject);
    } finally {
      this.#free.push(session);
      this.#advance();
    }
  }

  /** For the first deadline, and for a batch that waits for more. */
  #wakeLater(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const deadlines = this.#waiting.map(({ deadlineMs = Infinity }) => deadlineMs);
    const [first] = this.#waiting;
    if (first && this.#batching && this.#free.length > 0) deadlines.push(first.sinceMs + this.#batching.maxDelayMs);
    const nextMs = Math.min(...deadlines);
    if (nextMs === Infinity) return;
    this.#timer = setTimeout(() => this.#advance(), Math.max(0, Math.ceil(nextMs - performance.now())));
  }
}

async function runTogether(session: ModelSession, batch: readonly Waiting[]): Promise<readonly TensorMap[]> {
  const outputs = await session.run(joinRows(batch.map(({ inputs }) => inputs)));
  if (batch.length === 1) return [outputs];
  const parts = splitRows(
    outputs,
    batch.map(({ rows = 1 }) => rows),
  );
  if (parts) return parts;
  throw new ServeError('MODEL_RUN_FAILED', 'The model did not give as many rows as it was given.', {
    remedy: 'Publish the release again with fixed first axes in its signature; then requests are run one by one.',
  });
}

export const overloaded = (maxWaiting: number): ServeError =>
  new ServeError('SERVE_OVERLOADED', `${maxWaiting} requests wait for this model already.`, {
    remedy: 'Send the request again, later or slower.',
  });
const expired = (): ServeError =>
  new ServeError('REQUEST_EXPIRED', 'The time that was given for the answer is over.', {
    remedy: 'Give more time (parameter timeout, grpc-timeout), or send fewer requests at a time.',
  });
const cancelled = (): ServeError =>
  new ServeError('REQUEST_CANCELLED', 'The client went away before its request was run.', { remedy: 'Nothing.' });
