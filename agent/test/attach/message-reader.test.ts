import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BINARY_MARK,
  BINARY_PREFIX_BYTES,
  MAX_MESSAGE_BYTES,
  MessageReader,
  type RawMessage,
} from '../../src/attach/observe/message-reader.js';
import { binaryMessage } from './binary-message.js';

const line = fc
  .record({ text: fc.string({ maxLength: 40 }), newline: fc.constantFrom('\n', '\r\n', '\n\n') })
  .map(({ text, newline }) => {
    const json = JSON.stringify({ text });
    return { bytes: Buffer.from(json + newline), expected: { json } };
  });
const frame = fc
  .record({ text: fc.string({ maxLength: 40 }), payload: fc.uint8Array({ maxLength: 60 }) })
  .map(({ text, payload }) => {
    const json = JSON.stringify({ text });
    return { bytes: binaryMessage(json, payload), expected: { json, payload } };
  });

describe('what arrives on a connection', () => {
  it('when both forms are mixed and split anywhere, the same messages come out', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(line, frame), { maxLength: 20 }), fc.array(fc.nat(80)), (messages, sizes) => {
        const bytes = Buffer.concat(messages.map((each) => each.bytes));
        const reader = new MessageReader();
        const read: RawMessage[] = [];
        let offset = 0;
        for (const size of sizes) {
          read.push(...reader.push(bytes.subarray(offset, offset + size)));
          offset += size;
        }
        read.push(...reader.push(bytes.subarray(offset)));
        expect(read.map(({ json, ...rest }) => ({ json: json.trim(), ...rest }))).toEqual(
          messages.map(({ expected }) => expected),
        );
      }),
    );
  });

  it('when garbage follows a message, the message comes out before it is refused', () => {
    const read: string[] = [];
    expect(() => {
      for (const { json } of new MessageReader().push(Buffer.from('{"type":"bye"}\nGET /'))) read.push(json.trim());
    }).toThrow('begins with the byte 71');
    expect(read).toEqual(['{"type":"bye"}']);
  });

  it('when a message begins otherwise, or is too large, it is refused before it is kept', () => {
    const codeOf = (...chunks: Uint8Array[]) => {
      const reader = new MessageReader();
      try {
        for (const chunk of chunks) expect([...reader.push(chunk)]).toEqual([]);
        return undefined;
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(codeOf(Buffer.from('GET / HTTP/1.1\r\n'))).toBe('OBSERVE_INVALID');
    const huge = Buffer.alloc(BINARY_PREFIX_BYTES);
    huge[0] = BINARY_MARK;
    huge.writeUInt32LE(2 ** 32 - 1, 5);
    expect(codeOf(huge)).toBe('OBSERVE_TOO_LARGE');
    expect(codeOf(Buffer.from('{'), Buffer.alloc(MAX_MESSAGE_BYTES, ' '))).toBe('OBSERVE_TOO_LARGE');
    expect(codeOf(Buffer.from('{'), Buffer.alloc(MAX_MESSAGE_BYTES - 1, ' '))).toBeUndefined();
  });
});
