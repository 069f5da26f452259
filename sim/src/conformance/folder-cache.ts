import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { MetadataCache } from '@drover/shared/trust/tuf';

/** A cache with one file per entry, as the suite looks for them. */
export function folderCache(folder: string): MetadataCache {
  mkdirSync(folder, { recursive: true });
  const fileOf = (name: string) => join(folder, name);
  return {
    read: (name) => (existsSync(fileOf(name)) ? readFileSync(fileOf(name)) : undefined),
    write: (name, bytes) => replaceFile(fileOf(name), bytes),
    remove: (name) => rmSync(fileOf(name), { force: true }),
  };
}

export function replaceFile(file: string, bytes: Uint8Array): void {
  const temporary = `${file}.tmp`;
  const descriptor = openSync(temporary, 'w');
  try {
    for (let offset = 0; offset < bytes.length;) offset += writeSync(descriptor, bytes, offset);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(temporary, file);
}
