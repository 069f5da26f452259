import { createReadStream } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { paddingOf, parseUstarHeader, USTAR_BLOCK_BYTES, type UstarEntry } from '@drover/shared/archive';
import { UpdateError } from '../errors.js';

export interface UnpackBounds {
  /** Of all files together. */
  readonly maxBytes: number;
  readonly maxFiles: number;
}

/**
 * Unpacks a bundle into an empty folder, without its first path part (`drover-agent-VERSION/`). Refuses what `parseUstarHeader` does, a path that
 * comes twice, and more bytes or files than the bounds. The archive was verified; a publisher's mistake must still not write outside.
 *
 * @returns the number of files
 * @throws UpdateError AGENT_BUNDLE_UNREADABLE; what the file system throws
 */
export async function unpackBundle(
  archive: string,
  target: string,
  { maxBytes, maxFiles }: UnpackBounds,
  signal: AbortSignal,
): Promise<number> {
  const source = createReadStream(archive, { signal });
  const blocks = readerOf(await decompressed(archive, source), archive);
  const seen = new Set<string>();
  let bytes = 0;
  try {
    for (;;) {
      const entry = parseUstarHeader(await blocks.take(USTAR_BLOCK_BYTES));
      if (entry === 'end') return seen.size;
      if ('refused' in entry) throw unreadable(archive, entry.refused);
      const path = insidePath(entry, archive);
      const file = join(target, path);
      if (entry.isFolder) {
        await mkdir(file, { recursive: true });
        continue;
      }
      bytes += entry.bytes;
      if (bytes > maxBytes || seen.size >= maxFiles)
        throw unreadable(archive, `it holds more than ${maxBytes} bytes or ${maxFiles} files`);
      if (seen.has(path)) throw unreadable(archive, `"${path}" comes twice`);
      seen.add(path);
      await mkdir(dirname(file), { recursive: true });
      const handle = await open(file, 'wx', 0o644);
      try {
        await blocks.copy(entry.bytes, (chunk) => handle.writeFile(chunk));
        await handle.sync();
      } finally {
        await handle.close();
      }
      await blocks.take(paddingOf(entry.bytes));
    }
  } finally {
    source.destroy();
  }
}

const GZIP_MAGIC = Buffer.from([0x1f, 0x8b]);

async function decompressed(archive: string, source: Readable): Promise<Readable> {
  const handle = await open(archive, 'r');
  try {
    const { buffer } = await handle.read(Buffer.alloc(GZIP_MAGIC.length), 0, GZIP_MAGIC.length, 0);
    if (!buffer.equals(GZIP_MAGIC)) return source;
  } finally {
    await handle.close();
  }
  const gunzip = createGunzip();
  source.on('error', (error) => gunzip.destroy(error));
  return source.pipe(gunzip);
}

/** Hands a stream out in pieces of wanted sizes, holding one chunk at a time. */
function readerOf(stream: Readable, archive: string) {
  const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let rest: Buffer = Buffer.alloc(0);
  async function copy(count: number, write: (chunk: Buffer) => Promise<void>): Promise<void> {
    for (let left = count; left > 0;) {
      if (rest.length === 0) {
        const next = await chunks.next().catch((cause: unknown) => {
          throw unreadable(archive, (cause as Error).message, cause);
        });
        if (next.done) throw unreadable(archive, 'it ends too early');
        rest = next.value;
      }
      const part = rest.subarray(0, left);
      rest = rest.subarray(part.length);
      left -= part.length;
      await write(part);
    }
  }
  return {
    copy,
    async take(count: number): Promise<Buffer> {
      const parts: Buffer[] = [];
      await copy(count, (part) => Promise.resolve(void parts.push(Buffer.from(part))));
      return Buffer.concat(parts);
    },
  };
}

/** Without the first part, which names the bundle. */
function insidePath({ path, isFolder }: UstarEntry, archive: string): string {
  const [, ...inner] = path.split('/');
  if (inner.length === 0 && !isFolder) throw unreadable(archive, `"${path}" lies outside its folder`);
  return inner.join('/');
}

const unreadable = (archive: string, why: string, cause?: unknown) =>
  new UpdateError('AGENT_BUNDLE_UNREADABLE', `The bundle of the agent cannot be unpacked: ${why}.`, {
    where: archive,
    remedy: 'Make the bundle again (firmware-images/systemd/bundle.mjs) and publish it under a new version.',
    cause,
  });
