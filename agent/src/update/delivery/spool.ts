import { open, readFile, rm } from 'node:fs/promises';
import { digestHex } from '@drover/shared/ids';
import { systemCode, toWriteError } from '../../host/index.js';
import type { FetchPiece } from './plan.js';

/** Persists what came of a frame that is not whole yet, so that a break in it costs nothing. */
export interface Spool {
  /** What is there of this piece; empty if nothing. */
  read(piece: FetchPiece): Promise<Uint8Array>;
  /** Replaces what is there. Not synced: what a power cut takes is fetched again, and what it garbles does not have its hash. */
  write(piece: FetchPiece, received: Uint8Array): Promise<void>;
  clear(): Promise<void>;
}

/** `passWrite` is called before each persisted write. */
export function fileSpool(file: string, passWrite: () => void): Spool {
  let isEmpty = false;
  return {
    async read(piece) {
      const name = nameOf(piece);
      const content = isEmpty ? undefined : await readIfThere(file);
      if (!content?.subarray(0, name.length).equals(name)) return new Uint8Array();
      const received = content.subarray(name.length);
      return received.length <= piece.entry.bytes ? received : new Uint8Array();
    },
    async write(piece, received) {
      passWrite();
      try {
        const handle = await open(file, 'w');
        try {
          await handle.writev([nameOf(piece), received]);
        } finally {
          await handle.close();
        }
      } catch (error) {
        throw toWriteError(error, file);
      }
      isEmpty = false;
    },
    async clear() {
      if (!isEmpty) await rm(file, { force: true });
      isEmpty = true;
    },
  };
}

/** Which bytes of which file these are. */
function nameOf({ source, entry }: FetchPiece): Buffer {
  const name = Buffer.alloc(40);
  name.write(digestHex(source.digest), 'hex');
  name.writeBigUInt64LE(BigInt(entry.offset), 32);
  return name;
}

async function readIfThere(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
