import { readSync } from 'node:fs';

/** A file of which only parts are held in memory. */
export interface ByteSource {
  readonly bytes: number;
  /** Exactly `length` bytes from `offset`, which must lie within the file. A view that holds until the next read. */
  read(offset: number, length: number): Uint8Array;
}

export const memorySource = (content: Uint8Array): ByteSource => ({
  bytes: content.length,
  read: (offset, length) => content.subarray(offset, offset + length),
});

const WINDOW_BYTES = 64 * 1024;

/** Reads an open file. Neighbouring small reads share one window, so that walking the wire format costs few system calls. */
export function descriptorSource(descriptor: number, bytes: number): ByteSource {
  const window = Buffer.alloc(Math.min(WINDOW_BYTES, bytes));
  let windowOffset = 0;
  let windowBytes = 0;
  let large = Buffer.alloc(0);
  return {
    bytes,
    read(offset, length) {
      if (length > window.length) {
        if (large.length < length) large = Buffer.alloc(length);
        fill(descriptor, large.subarray(0, length), offset);
        return large.subarray(0, length);
      }
      if (offset < windowOffset || offset + length > windowOffset + windowBytes) {
        windowOffset = offset;
        windowBytes = Math.min(window.length, bytes - offset);
        fill(descriptor, window.subarray(0, windowBytes), offset);
      }
      return window.subarray(offset - windowOffset, offset - windowOffset + length);
    },
  };
}

function fill(descriptor: number, target: Uint8Array, offset: number): void {
  for (let filled = 0; filled < target.length;) {
    const read = readSync(descriptor, target, filled, target.length - filled, offset + filled);
    if (read === 0) throw new Error(`The file ended at byte ${offset + filled} while it was read.`);
    filled += read;
  }
}
