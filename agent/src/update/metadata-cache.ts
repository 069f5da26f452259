import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { MetadataCache } from '@drover/shared/trust/tuf';
import { systemCode, toWriteError, writeDurablySync } from '../host/index.js';
import type { WriteGate } from './kill-points.js';

/**
 * Verified metadata of the release repository in `metadata/` of the data folder, one file each: whole and on the disk once `write` returns. It is read
 * and verified anew at each start, so that a damaged file costs a download and nothing else.
 */
export function openMetadataCache(dataDir: string, gate: WriteGate): MetadataCache {
  const folder = join(dataDir, 'metadata');
  mkdirSync(folder, { recursive: true });
  const fileOf = (name: string) => join(folder, name);
  return {
    read(name) {
      try {
        return readFileSync(fileOf(name));
      } catch (error) {
        if (systemCode(error) === 'ENOENT') return undefined;
        throw error;
      }
    },
    write(name, bytes) {
      gate.pass(`metadata:write:${name}`);
      // Metadata is JSON in UTF-8, and was parsed as such before it comes here.
      writeDurablySync(fileOf(name), Buffer.from(bytes).toString('utf8'));
    },
    remove(name) {
      gate.pass(`metadata:remove:${name}`);
      try {
        rmSync(fileOf(name), { force: true });
        const directory = openSync(folder, 'r');
        try {
          fsyncSync(directory);
        } finally {
          closeSync(directory);
        }
      } catch (error) {
        throw toWriteError(error, fileOf(name));
      }
    },
  };
}
