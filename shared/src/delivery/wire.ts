/** Appends to a buffer that grows. Integers are LEB128, least significant group first. */
export class WireWriter {
  #buffer = Buffer.alloc(256);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  byte(value: number): this {
    this.#reserve(1);
    this.#buffer[this.#length++] = value;
    return this;
  }

  /** A non-negative safe integer. */
  varint(value: number): this {
    this.#reserve(8);
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.#buffer[this.#length++] = (rest % 128) + 128;
    this.#buffer[this.#length++] = rest;
    return this;
  }

  bytes(value: Uint8Array): this {
    this.#reserve(value.length);
    this.#buffer.set(value, this.#length);
    this.#length += value.length;
    return this;
  }

  finish(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const grown = Buffer.alloc(Math.max(this.#buffer.length * 2, this.#length + bytes));
    grown.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = grown;
  }
}

/** Reads what a stranger wrote: every step is checked against the end, and `fail` makes the error. */
export class WireReader {
  readonly #content: Uint8Array;
  readonly #fail: (what: string) => Error;
  #position = 0;

  constructor(content: Uint8Array, fail: (what: string) => Error) {
    this.#content = content;
    this.#fail = fail;
  }

  get remaining(): number {
    return this.#content.length - this.#position;
  }

  byte(): number {
    const value = this.#content[this.#position];
    if (value === undefined) throw this.#fail('it ends too early');
    this.#position += 1;
    return value;
  }

  /** At most `max`, and in its one shortest form, so that equal values have equal bytes. */
  varint(max: number): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const group = this.byte();
      value += (group & 127) * scale;
      if (value > max) throw this.#fail(`a number exceeds ${max}`);
      if (group < 128) {
        if (group === 0 && scale > 1) throw this.#fail('a number has a needless byte');
        return value;
      }
      if (scale > max) throw this.#fail(`a number exceeds ${max}`);
    }
  }

  /** A view. */
  bytes(length: number): Uint8Array {
    if (length > this.remaining) throw this.#fail('it ends too early');
    this.#position += length;
    return this.#content.subarray(this.#position - length, this.#position);
  }

  rest(): Uint8Array {
    return this.bytes(this.remaining);
  }

  end(): void {
    if (this.remaining > 0) throw this.#fail(`${this.remaining} bytes follow its end`);
  }
}
