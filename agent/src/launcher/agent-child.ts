import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { NODE_VARIABLE, PROGRAM, SLOT_VARIABLE, STATE_VARIABLE } from './contract.js';
import type { FailureCause, SlotName } from './slots.js';

export interface Bounds {
  /** From the start until the agent says that it serves what is committed. */
  readonly upWithinMs: number;
  /** Longest silence after which it counts as hung. */
  readonly silentAfterMs: number;
  /** From SIGTERM to SIGKILL when the launcher is told to stop. */
  readonly stopWithinMs: number;
}

export interface ChildOptions {
  readonly slot: SlotName;
  /** Absolute folder of the slot. */
  readonly folder: string;
  readonly stateDir: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly bounds: Bounds;
  /** Asked when the time of a candidate is over; undefined for a committed version. */
  readonly trial?: { readonly commitWithinMs: number; readonly isCommitted: () => boolean } | undefined;
  readonly stop: AbortSignal;
  readonly onUp: () => void;
}

export interface ChildEnding {
  readonly wasUp: boolean;
  readonly cause: FailureCause;
  readonly detail: string;
  /** For our own exit: what a shell would say of the child. */
  readonly status: number;
}

const SIGNAL_STATUS = 128;
const SIGNAL_NUMBERS: Readonly<Record<string, number>> = { SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 };

/** Starts the agent of a slot and watches it to its end; never rejects. What has to be ended is killed: agents survive that at any point. */
export function runAgent(options: ChildOptions): Promise<ChildEnding> {
  const { bounds, trial, stop } = options;
  const child = spawn('/bin/sh', [join(options.folder, PROGRAM), ...options.args], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: {
      ...options.environment,
      [NODE_VARIABLE]: process.execPath,
      [STATE_VARIABLE]: options.stateDir,
      [SLOT_VARIABLE]: options.slot,
    },
  });
  let wasUp = false;
  let verdict: Pick<ChildEnding, 'cause' | 'detail'> | undefined;
  const end = (cause: FailureCause, detail: string): void => {
    verdict ??= { cause, detail };
    child.kill('SIGKILL');
  };
  const after = (ms: number, act: () => void): NodeJS.Timeout => setTimeout(act, Math.min(ms, 2 ** 31 - 1));
  const untilUp = after(bounds.upWithinMs, () => end('not-up', `it was not up within ${bounds.upWithinMs} ms`));
  const untilCommitted =
    trial &&
    after(trial.commitWithinMs, () => {
      if (!trial.isCommitted()) end('overdue', `it was not committed within ${trial.commitWithinMs} ms`);
    });
  let untilSilent: NodeJS.Timeout | undefined;
  let untilStopped: NodeJS.Timeout | undefined;
  child.on('message', (message) => {
    if (message === 'up' && !wasUp) {
      wasUp = true;
      clearTimeout(untilUp);
      options.onUp();
    }
    // Silence counts from the first word on: until then the time to come up is the bound.
    clearTimeout(untilSilent);
    untilSilent = after(bounds.silentAfterMs, () =>
      end('silent', `nothing was heard of it for ${bounds.silentAfterMs} ms`),
    );
  });
  const pass = (): void => {
    child.kill('SIGTERM');
    untilStopped ??= after(bounds.stopWithinMs, () => child.kill('SIGKILL'));
  };
  if (stop.aborted) pass();
  else stop.addEventListener('abort', pass, { once: true });

  return new Promise((resolve) => {
    const settle = (ending: Omit<ChildEnding, 'wasUp'>): void => {
      for (const timer of [untilUp, untilCommitted, untilSilent, untilStopped]) clearTimeout(timer);
      stop.removeEventListener('abort', pass);
      resolve({ wasUp, ...ending });
    };
    child.once('error', (error) => {
      if (child.pid === undefined) settle({ cause: 'not-started', detail: error.message, status: 1 });
    });
    child.once('exit', (code, signal) => {
      const how = signal === null ? `it ended with exit code ${String(code)}` : `it was killed by ${signal}`;
      const status = code ?? SIGNAL_STATUS + (SIGNAL_NUMBERS[signal ?? ''] ?? 0);
      settle({ cause: verdict?.cause ?? 'exited', detail: verdict?.detail ?? how, status });
    });
  });
}
