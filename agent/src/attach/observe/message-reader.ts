import { AttachError } from '../errors.js';

/** One message in either form: its JSON, and the bytes of the tensors where it is in the binary form. */
export interface RawMessage {
  readonly json: string;
  readonly payload?: Uint8Array;
}

/** A message of one connection, bytes of its tensors included: 64 rows of the widest features that are kept. */
export const MAX_MESSAGE_BYTES = 1024 ** 2;

const OPENING_BRACE = 0x7b;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
/** First byte of a message in the binary form. */
export const BINARY_MARK = 0x01;
/** The mark and two lengths of four bytes, little-endian. */
export const BINARY_PREFIX_BYTES = 9;
const INITIAL_BYTES = 4_096;
/** What a connection keeps while nothing is under way, however large a message was. */
const MAX_IDLE_BYTES = 128 * 1024;

/**
 * Cuts what arrives on a connection into messages: lines of JSON, or frames with a length, told apart by their first byte (docs/attach.md). Needs
 * memory for one message, and time in proportion to the bytes, however they are split.
 */
export class MessageReader {
  #bytes = Buffer.allocUnsafe(INITIAL_BYTES);
  #length = 0;
  /** No newline lies before it in the message that is under way. */
  #searched = 0;

  /**
   * The messages that are whole now, to be taken before more is pushed.
   *
   * @throws AttachError OBSERVE_TOO_LARGE, OBSERVE_INVALID after those before: where the next one begins cannot be known
   */
  *push(chunk: Uint8Array): Generator<RawMessage, void, undefined> {
    this.#append(chunk);
    let start = 0;
    for (;;) {
      start = this.#skipBlank(start);
      const end = this.#endOf(start);
      if (end === undefined) break;
      yield this.#read(start, end);
      start = end;
    }
    this.#dropBefore(start);
    if (this.#length > MAX_MESSAGE_BYTES) throw tooLarge(this.#length);
  }

  #append(chunk: Uint8Array): void {
    const needed = this.#length + chunk.length;
    if (needed > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#bytes.length));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    this.#bytes.set(chunk, this.#length);
    this.#length = needed;
  }

  #skipBlank(start: number): number {
    let at = start;
    while (at < this.#length && (this.#bytes[at] === NEWLINE || this.#bytes[at] === CARRIAGE_RETURN)) at += 1;
    return at;
  }

  /** Index after the message that begins there; undefined while it is not whole. */
  #endOf(start: number): number | undefined {
    if (start >= this.#length) return undefined;
    const first = this.#bytes[start];
    if (first === OPENING_BRACE) return this.#endOfLine(start);
    if (first === BINARY_MARK) return this.#endOfFrame(start);
    throw new AttachError('OBSERVE_INVALID', `A message begins with the byte ${first ?? 'none'}.`, {
      remedy: 'Begin each message with "{" and end it with a newline, or use the binary form (docs/attach.md).',
    });
  }

  #endOfLine(start: number): number | undefined {
    const newline = this.#bytes.subarray(0, this.#length).indexOf(NEWLINE, Math.max(start, this.#searched));
    if (newline !== -1) return newline + 1;
    this.#searched = this.#length;
    return undefined;
  }

  #endOfFrame(start: number): number | undefined {
    if (this.#length - start < BINARY_PREFIX_BYTES) return undefined;
    const bytes = BINARY_PREFIX_BYTES + this.#bytes.readUInt32LE(start + 1) + this.#bytes.readUInt32LE(start + 5);
    if (bytes > MAX_MESSAGE_BYTES) throw tooLarge(bytes);
    return start + bytes <= this.#length ? start + bytes : undefined;
  }

  #read(start: number, end: number): RawMessage {
    if (end - start > MAX_MESSAGE_BYTES) throw tooLarge(end - start);
    if (this.#bytes[start] === OPENING_BRACE) return { json: this.#bytes.toString('utf8', start, end) };
    const header = start + BINARY_PREFIX_BYTES;
    const payload = header + this.#bytes.readUInt32LE(start + 1);
    return {
      json: this.#bytes.toString('utf8', header, payload),
      // A copy: the buffer is filled anew by what comes next.
      payload: new Uint8Array(this.#bytes.subarray(payload, end)),
    };
  }

  #dropBefore(start: number): void {
    if (start === 0) return;
    this.#bytes.copyWithin(0, start, this.#length);
    this.#length -= start;
    this.#searched = Math.max(0, this.#searched - start);
    if (this.#length === 0 && this.#bytes.length > MAX_IDLE_BYTES) this.#bytes = Buffer.allocUnsafe(INITIAL_BYTES);
  }
}

const tooLarge = (bytes: number): AttachError =>
  new AttachError('OBSERVE_TOO_LARGE', `A message has ${bytes} bytes or more; ${MAX_MESSAGE_BYTES} are the most.`, {
    remedy: 'Send fewer rows in each message.',
  });
