import { fork, type ChildProcess } from 'node:child_process';
import { processEntry } from '../../host/process-entry.js';

/** Starts an entry file. Its output goes to standard error: what the supervisor prints on standard output may be parsed. */
export const forkChild = (
  entry: './inference-main.js' | './probe-main.js' | './observe-main.js',
  nodeFlags: readonly string[],
): ChildProcess =>
  fork(processEntry(import.meta.url, entry), [], {
    execArgv: [...nodeFlags],
    serialization: 'advanced',
    stdio: ['ignore', 2, 2, 'ipc'],
  });

/** How a process ended, as the predicate of a sentence. */
export const endingOf = (code: number | null, signal: NodeJS.Signals | null): string =>
  signal === null ? `ended with exit code ${code ?? 'unknown'}` : `was killed by ${signal}`;
