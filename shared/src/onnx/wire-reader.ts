import { notAModel } from './errors.js';

/** Wire types of protobuf (protobuf.dev, "Encoding"). Groups (3, 4) are not among them: ONNX never had any. */
export const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;
const KNOWN = new Set<number>(Object.values(WIRE));

/** Tags and names pass through this window; tensors are stepped over. */
const WINDOW_BYTES = 64 * 1024;

/** Bytes that a scan has to see next. The answer begins at `offset` and is shorter than `bytes` only at the end of the file. */
export interface ScanRequest {
  readonly offset: number;
  readonly bytes: number;
}

/** A cursor over protobuf's wire format that holds one window of the bytes. */
export class WireReader {
  /** Position of the next byte; whoever steps over something moves it. */
  at = 0;
  readonly #size: number;
  #window: Uint8Array = new Uint8Array();
  #windowAt = 0;

  constructor(size: number) {
    this.#size = size;
  }

  /** Makes sure that the window holds the next `bytes`, or all that are left. */
  *need(bytes: number): Generator<ScanRequest, void, Uint8Array> {
    const wanted = Math.min(bytes, this.#size - this.at);
    if (this.at >= this.#windowAt && this.at + wanted <= this.#windowAt + this.#window.length) return;
    this.#window = yield { offset: this.at, bytes: Math.min(Math.max(WINDOW_BYTES, wanted), this.#size - this.at) };
    this.#windowAt = this.at;
    if (this.#window.length < wanted) throw notAModel('it is shorter than its size');
  }

  /** The next bytes as UTF-8; does not move. */
  text(bytes: number): string {
    const from = this.at - this.#windowAt;
    return Buffer.from(this.#window.subarray(from, from + bytes)).toString('utf8');
  }

  tag(): { readonly field: number; readonly wireType: number } {
    const tag = this.varint(5);
    const [field, wireType] = [tag >>> 3, tag & 7];
    if (field === 0 || !KNOWN.has(wireType)) throw notAModel(`it has a field ${field} of the wire type ${wireType}`);
    return { field, wireType };
  }

  /** A varint of at most `maxBytes`. Ten bytes carry 64 bits; of those the low 32 are returned, which is what an int32 or enum keeps. */
  varint(maxBytes: 5 | 10): number {
    let low = 0;
    for (let index = 0; index < maxBytes; index += 1) {
      const byte = this.#window[this.at - this.#windowAt];
      if (byte === undefined) throw notAModel('it is cut short');
      this.at += 1;
      if (index < 4) low |= (byte & 0x7f) << (7 * index);
      else if (index === 4) low |= (byte & 0x0f) << 28;
      // A tag or a length has no more than 32 bits. Readers differ in what they do with the others.
      if (maxBytes === 5 && index === 4 && byte > 0x0f) break;
      if (byte < 0x80) return low >>> 0;
    }
    throw notAModel('a number in it has no end');
  }
}
