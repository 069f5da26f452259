import { fork } from 'node:child_process';
import type { CodedErrorJson } from '@drover/shared/coded-error';
import { processEntry } from '../host/process-entry.js';
import { LearnError, isLearnCode } from './errors.js';
import type { FineTuneRequest, FineTuneResult } from './fine-tune.js';
import type { TrainingProgress } from './trainer.js';
import type { TrainerAnswer, TrainerJob } from './trainer-messages.js';

export interface TrainerProcessOptions {
  readonly request: FineTuneRequest;
  /** Kills the process at once. */
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: TrainingProgress) => void;
  /** POSIX niceness, 0 to 19. */
  readonly niceness?: number;
  /** Limit of the heap, and of resident memory between two slices. */
  readonly maxMemoryMiB?: number;
}

export interface TrainerProcess {
  /** Undefined when the process could not be started. */
  readonly pid: number | undefined;
  /**
   * Rejects with LearnError LEARN_ABORTED, LEARN_TRAINER_DIED, LEARN_MEMORY_EXCEEDED, or any code of `train` and `evaluateClassifier`. The process has ended
   * by the time it settles.
   */
  readonly result: Promise<FineTuneResult>;
}

const DEFAULT_NICENESS = 10;
const DEFAULT_MAX_MEMORY_MIB = 512;

/** Fine-tunes in a process of its own, so that neither its memory, nor its computing, nor a native crash reaches the device's other work. */
export function startTrainerProcess(options: TrainerProcessOptions): TrainerProcess {
  const { request, signal, onProgress, niceness = DEFAULT_NICENESS, maxMemoryMiB = DEFAULT_MAX_MEMORY_MIB } = options;
  if (signal.aborted) return { pid: undefined, result: Promise.reject(aborted(signal.reason)) };
  const child = fork(processEntry(import.meta.url, './trainer-main.js'), [], {
    // Structured clone: typed arrays travel as they are.
    serialization: 'advanced',
    execArgv: [`--max-old-space-size=${maxMemoryMiB}`],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    signal,
    killSignal: 'SIGKILL',
  });
  const result = new Promise<FineTuneResult>((resolve, reject) => {
    let answer: Extract<TrainerAnswer, { kind: 'done' | 'failed' }> | undefined;
    let failure: unknown;
    let lastWords = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (lastWords = `${lastWords}${text}`.slice(-2000)));
    child.on('message', (message: TrainerAnswer) => {
      if (message.kind === 'progress') onProgress?.({ step: message.step, steps: message.steps, loss: message.loss });
      else answer = message;
    });
    child.on('error', (error) => {
      failure = error;
      // A process that never was does not always close.
      if (child.pid === undefined) reject(died({ exitCode: null, exitSignal: null, lastWords, cause: error }));
    });
    child.once('close', (exitCode, exitSignal) => {
      if (signal.aborted) reject(aborted(signal.reason));
      else if (answer?.kind === 'done') resolve(answer.result);
      else if (answer) reject(toLearnError(answer.error));
      else reject(died({ exitCode, exitSignal, lastWords, cause: failure }));
    });
    const job: TrainerJob = { request, niceness, maxMemoryBytes: maxMemoryMiB * 1024 ** 2 };
    child.send(job, (error) => {
      if (error) failure = error;
    });
  });
  return { pid: child.pid, result };
}

/** An error that crossed the process border keeps its code where it is one of ours. */
function toLearnError({ code, what, remedy, where }: CodedErrorJson): LearnError {
  const known = isLearnCode(code);
  return new LearnError(known ? code : 'LEARN_TRAINER_DIED', known ? what : `${code}: ${what}`, { remedy, where });
}

function aborted(cause: unknown): LearnError {
  return new LearnError('LEARN_ABORTED', 'Training was stopped.', {
    remedy: 'Nothing was changed. Start it again.',
    cause,
  });
}

function died(end: {
  exitCode: number | null;
  exitSignal: string | null;
  lastWords: string;
  cause: unknown;
}): LearnError {
  const how = end.exitSignal === null ? `status ${end.exitCode ?? 'unknown'}` : `signal ${end.exitSignal}`;
  const words = end.lastWords.trim() === '' ? '' : `; its last words: ${end.lastWords.trim()}`;
  return new LearnError('LEARN_TRAINER_DIED', `The trainer process ended without an answer (${how})${words}.`, {
    remedy: 'It will be tried again. If it keeps happening, allow the trainer more memory or use smaller batches.',
    cause: end.cause,
  });
}
