import { BINARY_MARK, BINARY_PREFIX_BYTES } from '../../src/attach/observe/message-reader.js';

/** A message in the binary form (docs/attach.md). */
export function binaryMessage(json: string, payload: Uint8Array): Buffer {
  const header = Buffer.from(json);
  const prefix = Buffer.alloc(BINARY_PREFIX_BYTES);
  prefix[0] = BINARY_MARK;
  prefix.writeUInt32LE(header.length, 1);
  prefix.writeUInt32LE(payload.length, 5);
  return Buffer.concat([prefix, header, payload]);
}
