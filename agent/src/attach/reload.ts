import { readFile } from 'node:fs/promises';
import type { AttachedModel } from '../config/index.js';
import { AttachError } from './errors.js';
import { runProgram } from './program.js';

type ReloadHook = NonNullable<AttachedModel['reload']>;

/** @throws AttachError ATTACH_RELOAD_FAILED; the signal's reason */
export async function reload(
  hook: ReloadHook,
  environment: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<void> {
  try {
    if ('command' in hook) await runProgram({ ...hook, environment }, signal);
    else process.kill(await readPid(hook.pidFile), hook.signal);
  } catch (cause) {
    signal.throwIfAborted();
    const why = cause instanceof Error ? cause.message : String(cause);
    const [where, what] = 'command' in hook ? [hook.command[0], 'The reload hook'] : [hook.pidFile, 'The signal'];
    throw new AttachError('ATTACH_RELOAD_FAILED', `${what} failed: ${why}.`, {
      where,
      remedy:
        'Run the hook by hand as the user of the agent, and read the log of the application. The device stays with the release that it had.',
      cause,
    });
  }
}

/** The process of an application, as it wrote it down. Rejects where the file holds something else. */
export async function readPid(file: string): Promise<number> {
  const text = (await readFile(file, 'utf8')).trim();
  // 0 and negative numbers would mean whole groups of processes, 1 the init process.
  if (/^[1-9]\d{0,9}$/.test(text) && text !== '1') return Number(text);
  throw new Error(`${JSON.stringify(text.slice(0, 40))} is no process id`);
}
