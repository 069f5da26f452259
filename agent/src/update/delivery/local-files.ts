import { open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeChunkIndex, DeliveryError, isChunkIndex } from '@drover/shared/delivery';
import { digestHex, type Digest } from '@drover/shared/ids';
import { MAX_INDEX_BYTES } from '@drover/shared/manifest';
import { systemCode } from '../../host/index.js';
import type { LocalFile } from './plan.js';

/**
 * The whole files of the store that have an index there, newest first. Neither is believed: a chunk that is taken from one of them must have the hash
 * that the signed index of the new file states.
 */
export async function localFiles(blobs: string): Promise<LocalFile[]> {
  const found: { file: LocalFile; atMs: number }[] = [];
  for (const name of await readdir(blobs)) {
    const path = join(blobs, name);
    const content = await readIndex(path);
    if (!content) continue;
    const file = toLocalFile(content, name);
    const whole = file && (await statIfThere(join(blobs, digestHex(file.file))));
    if (file && whole?.size === file.bytes) found.push({ file, atMs: whole.mtimeMs });
  }
  return found.sort((left, right) => right.atMs - left.atMs).map(({ file }) => file);
}

async function readIndex(path: string): Promise<Uint8Array | undefined> {
  const facts = await statIfThere(path);
  if (!facts?.isFile() || facts.size > MAX_INDEX_BYTES) return undefined;
  const handle = await open(path, 'r');
  try {
    const { buffer } = await handle.read(Buffer.alloc(8), 0, 8, 0);
    return isChunkIndex(buffer) ? await readFile(path) : undefined;
  } finally {
    await handle.close();
  }
}

/** A damaged index only costs its chunks. */
function toLocalFile(content: Uint8Array, hex: string): LocalFile | undefined {
  try {
    const { file, bytes, chunks } = decodeChunkIndex(content);
    const index = `sha256:${hex}` as Digest;
    return { file, bytes, index, chunks: new Map(chunks.map((chunk) => [chunk.hex, chunk.offset])) };
  } catch (error) {
    if (error instanceof DeliveryError) return undefined;
    throw error;
  }
}

async function statIfThere(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
