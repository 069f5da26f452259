import { access, constants, readFile, stat } from 'node:fs/promises';
import { constants as osConstants } from 'node:os';
import { isAbsolute, join } from 'node:path';
import type { AttachedModel } from '../../config/index.js';
import { AttachError } from '../errors.js';
import { readPid } from '../reload.js';

type ReloadHook = NonNullable<AttachedModel['reload']>;

/**
 * Whether the hook could be run now. It is not run: that would make the application load.
 *
 * @returns what was found
 * @throws AttachError ATTACH_RELOAD_FAILED
 */
export async function examineHook(hook: ReloadHook, searchPath: string): Promise<string> {
  if ('command' in hook) {
    const file = await findProgram(hook.command[0] ?? '', searchPath).catch((cause: unknown) => {
      throw unusable(
        hook.command[0] ?? '',
        cause,
        'Name a program that is there, and that the user of the agent may run.',
      );
    });
    return `${file} can be run`;
  }
  const { pidFile, signal } = hook;
  try {
    const pid = await readPid(pidFile);
    process.kill(pid, 0);
    if (await endsOf(signal, pid)) throw new Error(`process ${pid} would end of ${signal}: it has no handler for it`);
    return `process ${pid} of ${pidFile} can be sent ${signal}`;
  } catch (cause) {
    const remedy =
      'Start the application, as the user of the agent, and let it write its process id there once its handler stands.';
    throw unusable(pidFile, cause, remedy);
  }
}

/** @throws AttachError ATTACH_SELF_TEST_FAILED */
export async function examineSelfTest(command: readonly string[], searchPath: string): Promise<string> {
  const [program = ''] = command;
  try {
    return `${await findProgram(program, searchPath)} can be run`;
  } catch (cause) {
    throw new AttachError('ATTACH_SELF_TEST_FAILED', `The self-test cannot be run: ${(cause as Error).message}.`, {
      where: program,
      remedy: 'Name a program in selfTest.command that is there, and that the user of the agent may run.',
      cause,
    });
  }
}

/** As `execvp` finds it. */
async function findProgram(program: string, searchPath: string): Promise<string> {
  const places = program.includes('/') ? [program] : searchPath.split(':').map((folder) => join(folder, program));
  if (program.includes('/') && !isAbsolute(program)) throw new Error(`${program} is no absolute path`);
  let failure = new Error(`there is no ${program} in ${searchPath}`);
  for (const place of places) {
    try {
      await access(place, constants.X_OK);
      if ((await stat(place)).isFile()) return place;
      throw new Error(`${place} is no file`);
    } catch (error) {
      if (program.includes('/')) failure = error as Error;
    }
  }
  throw failure;
}

/** What a process does at a signal that it has said nothing about is to end. False where that cannot be told. */
async function endsOf(signal: NodeJS.Signals, pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => undefined);
  const mask = (name: string): bigint =>
    BigInt(`0x${new RegExp(`^${name}:\\s+([0-9a-f]+)$`, 'm').exec(status ?? '')?.[1] ?? '0'}`);
  if (status === undefined) return false;
  return ((mask('SigCgt') | mask('SigIgn')) & (1n << BigInt(osConstants.signals[signal] - 1))) === 0n;
}

const unusable = (where: string, cause: unknown, remedy: string): AttachError =>
  new AttachError('ATTACH_RELOAD_FAILED', `The reload hook cannot be run: ${(cause as Error).message}.`, {
    where,
    remedy,
    cause,
  });
