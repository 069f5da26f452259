import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { Digest } from '@drover/shared/ids';
import { systemCode } from './errors.js';

/** Reads the file through; undefined when there is none. @throws file system errors; the signal's reason */
export async function digestOfFile(file: string, signal: AbortSignal): Promise<Digest | undefined> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(file, { signal })) hash.update(chunk as Buffer);
  } catch (error) {
    signal.throwIfAborted();
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined;
    throw error;
  }
  return `sha256:${hash.digest('hex')}` as Digest;
}
