import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { CliError } from './errors.js';

/** @throws CliError CLI_FILE_UNREADABLE */
export function readFile(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

/** @throws CliError CLI_FILE_UNREADABLE */
export const readText = (file: string): string => readFile(file).toString('utf8');

/** @throws CliError CLI_FILE_UNREADABLE */
export function readJson(file: string): unknown {
  const text = readFile(file).toString('utf8');
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new CliError(
      'CLI_FILE_UNREADABLE',
      `The file is not JSON: ${cause instanceof Error ? cause.message : String(cause)}.`,
      {
        where: file,
        remedy: 'Correct the syntax; the message names the place.',
        cause,
      },
    );
  }
}

/** Whole or not at all. Without `replace` what is there stays. @throws CliError CLI_FILE_EXISTS, CLI_FILE_UNWRITABLE */
export function writeJson(file: string, document: unknown, { replace }: { readonly replace: boolean }): void {
  if (!replace && existsSync(file)) {
    throw new CliError('CLI_FILE_EXISTS', 'There is a file of this name already; somebody may have signed it.', {
      where: file,
      remedy: 'Name another with --out, or remove it if it is no longer wanted.',
    });
  }
  writeBytes(file, Buffer.from(`${JSON.stringify(document, undefined, 2)}\n`));
}

/** Whole or not at all; what was there is replaced. @throws CliError CLI_FILE_UNWRITABLE */
export function writeBytes(file: string, bytes: Uint8Array): void {
  const temporary = `${file}.${randomUUID()}`;
  try {
    writeFileSync(temporary, bytes, { flag: 'wx' });
    renameSync(temporary, file);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw unwritable(file, cause);
  }
}

export const unreadable = (file: string, cause: unknown): CliError =>
  new CliError(
    'CLI_FILE_UNREADABLE',
    `The file cannot be read: ${cause instanceof Error ? cause.message : String(cause)}.`,
    { where: file, remedy: 'Check its name and its permissions.', cause },
  );

export const unwritable = (file: string, cause: unknown): CliError =>
  new CliError(
    'CLI_FILE_UNWRITABLE',
    `The file cannot be written: ${cause instanceof Error ? cause.message : String(cause)}.`,
    {
      where: file,
      remedy: 'Check that its folder exists, that its disk has space, and that you may write there.',
      cause,
    },
  );
