import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { SimulationError } from './errors.js';

export interface StartedProcess<Ready> {
  readonly ready: Ready;
  readonly pid: number;
  /** The last lines of its log, for a report of why it failed. */
  lastLines(): string;
  /** SIGKILL: no handler runs, nothing is flushed. */
  kill(): Promise<void>;
  /** SIGTERM, then SIGKILL after ten seconds. */
  stop(): Promise<void>;
}

export interface StartOptions {
  readonly name: string;
  readonly script: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly nodeFlags?: readonly string[];
  readonly readyTimeoutMs?: number;
}

const KEPT_LINES = 40;
const STOP_TIMEOUT_MS = 10_000;

/** Starts a Node process and waits for the line `{"event":"ready",…}` on its standard output. */
export async function startProcess<Ready>(options: StartOptions): Promise<StartedProcess<Ready>> {
  const child = spawn(process.execPath, [...(options.nodeFlags ?? []), options.script, ...options.args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...options.environment },
  });
  const lines: string[] = [];
  const keep = (line: string) => {
    lines.push(line);
    if (lines.length > KEPT_LINES) lines.shift();
  };
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  createInterface({ input: child.stderr }).on('line', keep);
  const ready = await waitForReady<Ready>(child, options, keep, () => lines.join('\n'));
  return {
    ready,
    pid: child.pid ?? 0,
    lastLines: () => lines.join('\n'),
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
    async stop() {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      await exited;
      clearTimeout(timer);
    },
  };
}

function waitForReady<Ready>(
  child: ChildProcess & { stdout: NonNullable<ChildProcess['stdout']> },
  options: StartOptions,
  keep: (line: string) => void,
  log: () => string,
): Promise<Ready> {
  return new Promise((resolve, reject) => {
    const fail = (why: string) => {
      clearTimeout(timer);
      reject(
        new SimulationError('PROCESS_NOT_READY', `${options.name} ${why}.\n${log()}`, {
          where: options.script,
          remedy: 'Read the lines of its log above; `npm run build` if its files are missing.',
        }),
      );
    };
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      fail('was not ready in time');
    }, options.readyTimeoutMs ?? 30_000);
    child.once('error', (error) => fail(`cannot be started: ${error.message}`));
    child.once('exit', (code, signal) => fail(`ended with ${signal ?? `status ${String(code)}`} before it was ready`));
    createInterface({ input: child.stdout }).on('line', (line) => {
      keep(line);
      if (!line.startsWith('{"event":"ready"')) return;
      clearTimeout(timer);
      resolve(JSON.parse(line) as Ready);
    });
  });
}
