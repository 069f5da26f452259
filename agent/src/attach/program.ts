import { spawn, type ChildProcess } from 'node:child_process';

export interface Program {
  /** Path and arguments; no shell reads them. */
  readonly command: readonly string[];
  /** All of its environment. */
  readonly environment: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

/** Of what it prints, so much is read; the rest is let through unread, so that it is not held up by a full pipe. */
const MAX_OUTPUT_BYTES = 64 * 1024;
const TOLD_CHARACTERS = 500;
/** A program may leave a child behind that keeps its output open: what it printed itself has come by then. */
const OUTPUT_AFTER_EXIT_MS = 200;

/** Why a program counts as failed, as the end of a sentence. */
export class ProgramFailure extends Error {}

/**
 * Runs a program of the operator in a process group of its own and waits for its exit; what is left of the group is killed when its time is over.
 *
 * @returns what it printed on standard output
 * @throws ProgramFailure unless it exits with 0 in time; the signal's reason
 */
export function runProgram({ command, environment, timeoutMs }: Program, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  const [file = '', ...args] = command;
  const child = spawn(file, args, { env: { ...environment }, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const output = collect(child.stdout);
  const complaint = collect(child.stderr);
  return new Promise((resolve, reject) => {
    let failure: Error | undefined;
    const stop = (why: Error): void => {
      failure = why;
      killGroup(child);
    };
    const timer = setTimeout(() => stop(new ProgramFailure(`did not end within ${timeoutMs} ms`)), timeoutMs);
    const onAbort = (): void => stop(signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason)));
    signal.addEventListener('abort', onAbort, { once: true });
    const settle = (code: number | null, killedBy: NodeJS.Signals | null): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      child.stdout.destroy();
      child.stderr.destroy();
      if (failure) reject(failure);
      else if (code === 0) resolve(output());
      else {
        const how = killedBy === null ? `ended with ${code ?? 'no status'}` : `was killed by ${killedBy}`;
        const said = (complaint().trim() || output().trim()).slice(-TOLD_CHARACTERS);
        reject(new ProgramFailure(said === '' ? how : `${how}: ${said}`));
      }
    };
    child.once('error', (error) => {
      if (child.pid !== undefined) return;
      failure = new ProgramFailure(`could not be started (${error.message})`);
      settle(null, null);
    });
    child.once('exit', (code, killedBy) => {
      const late = setTimeout(() => settle(code, killedBy), OUTPUT_AFTER_EXIT_MS);
      child.once('close', () => {
        clearTimeout(late);
        settle(code, killedBy);
      });
    });
  });
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const parts: Buffer[] = [];
  let bytes = 0;
  stream.on('data', (part: Buffer) => {
    if (bytes < MAX_OUTPUT_BYTES) parts.push(part.subarray(0, MAX_OUTPUT_BYTES - bytes));
    bytes += part.length;
  });
  return () => Buffer.concat(parts).toString('utf8');
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // The group has ended meanwhile, which is what was wanted.
  }
}
