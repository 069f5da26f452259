import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** What a load child is told. */
export interface Load {
  readonly url: string;
  readonly model: string;
  readonly form: 'binary' | 'json' | 'grpc' | 'naive';
  readonly connections: number;
  readonly forMs: number;
  readonly input: string;
  readonly shape: readonly number[];
  readonly range: number;
  readonly seed: number;
}

export interface Measured {
  readonly rps: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface Child {
  ask<Answer>(question: object): Promise<Answer>;
  stop(): Promise<void>;
}

/** A child of this folder that answers one question after the other. */
export function startChild(
  file: './bare-child.ts' | './naive-child.ts' | './load-child.ts' | './swap-child.ts',
): Child {
  const child: ChildProcess = fork(fileURLToPath(new URL(file, import.meta.url)), [], {
    execArgv: ['--import', 'tsx'],
    stdio: ['ignore', 2, 2, 'ipc'],
  });
  return {
    ask: (question) =>
      new Promise((resolve, reject) => {
        const onExit = (code: number | null): void => reject(new Error(`${file} ended with ${code ?? 'a signal'}`));
        child.once('exit', onExit);
        child.once('message', (answer) => {
          child.off('exit', onExit);
          resolve(answer as never);
        });
        child.send(question);
      }),
    stop: () =>
      new Promise((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) {
          resolve();
          return;
        }
        child.once('exit', () => resolve());
        child.disconnect();
      }),
  };
}

export function summary(latenciesMs: number[], elapsedMs: number): Measured {
  const sorted = latenciesMs.sort((left, right) => left - right);
  const at = (share: number): number => sorted[Math.floor(share * sorted.length)] ?? NaN;
  return { rps: (1_000 * sorted.length) / elapsedMs, p50Ms: at(0.5), p99Ms: at(0.99) };
}
