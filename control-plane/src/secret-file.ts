import { closeSync, fsyncSync, linkSync, openSync, rmSync, writeSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { dirname } from 'node:path';

/**
 * Writes a file that only its owner may read (0600), whole or not at all, and never over an existing one (EEXIST is thrown).
 */
export function createSecretFile(file: string, text: string): void {
  const temporary = `${file}.${randomUUID()}`;
  const handle = openSync(temporary, 'wx', 0o600);
  try {
    writeSync(handle, text);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  try {
    // A hard link fails where the name exists; a rename would replace it.
    linkSync(temporary, file);
  } finally {
    rmSync(temporary);
  }
  const directory = openSync(dirname(file), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
