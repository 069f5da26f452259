import { readFileSync } from 'node:fs';
import { CliError } from './errors.js';

/** @throws CliError CLI_FILE_UNREADABLE */
export function readFile(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new CliError(
      'CLI_FILE_UNREADABLE',
      `The file cannot be read: ${cause instanceof Error ? cause.message : String(cause)}.`,
      {
        where: file,
        remedy: 'Check its name and its permissions.',
        cause,
      },
    );
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
