import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { systemCode } from '../host/errors.js';
import { FILE_LIST, PROGRAM } from './contract.js';

/** `sizes` costs one stat per file. `whole` reads every byte, which takes seconds on an SD card. */
export type CheckLevel = 'sizes' | 'whole';

const LINE = /^([0-9a-f]{64}) (\d{1,12}) ([A-Za-z0-9@_][A-Za-z0-9@._+/-]{0,250})$/;

interface ListedFile {
  readonly sha256: string;
  readonly bytes: number;
  readonly path: string;
}

/**
 * What is wrong with the files of a slot; undefined when nothing is. Finds damage, not malice: who may write the slot may write its list.
 *
 * @param folder absolute
 */
export function slotDamage(folder: string, level: CheckLevel): string | undefined {
  let files: ListedFile[] | undefined;
  try {
    files = parseFileList(readFileSync(join(folder, FILE_LIST), 'utf8'));
    if (!files?.some(({ path }) => path === PROGRAM)) return `${FILE_LIST} is not whole`;
    for (const { path, bytes, sha256 } of files) {
      const file = join(folder, path);
      const found = statSync(file);
      if (!found.isFile() || found.size !== bytes) return `${path} has ${found.size} bytes in place of ${bytes}`;
      if (level === 'whole' && sha256Of(file) !== sha256)
        return `${path} has other contents than it was installed with`;
    }
    return undefined;
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return (error as Error).message;
  }
}

/** undefined unless every line can be read and none is missing at the end. */
export function parseFileList(text: string): ListedFile[] | undefined {
  const lines = text.split('\n');
  if (lines.pop() !== '' || lines.pop() !== `total ${lines.length}`) return undefined;
  const files: ListedFile[] = [];
  for (const line of lines) {
    const [, sha256, bytes, path] = LINE.exec(line) ?? [];
    if (sha256 === undefined || path === undefined || path.split('/').some((part) => ['', '.', '..'].includes(part)))
      return undefined;
    files.push({ sha256, bytes: Number(bytes), path });
  }
  return files;
}

const BUFFER_BYTES = 1024 * 1024;

function sha256Of(file: string): string {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(BUFFER_BYTES);
  const descriptor = openSync(file, 'r');
  try {
    for (let read = -1; read !== 0;) {
      read = readSync(descriptor, buffer);
      hash.update(buffer.subarray(0, read));
    }
  } finally {
    closeSync(descriptor);
  }
  return hash.digest('hex');
}
