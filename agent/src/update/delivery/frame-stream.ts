import { UpdateError } from '../errors.js';
import type { FetchPiece, Resource } from './plan.js';
import type { Spool } from './spool.js';

/** Bytes of a pack or of a file, from `start` to before `end`. */
export type ReadRange = (source: Resource, range: { start: number; end: number }) => AsyncIterable<Uint8Array>;

export interface FrameStreamOptions {
  readonly readRange: ReadRange;
  readonly spool: Spool;
  readonly onBytes: (bytes: number) => void;
  /** Milliseconds, real time. */
  readonly nowMs?: () => number;
}

/** What came within this time is not worth a write to the disk; what came before survives a kill. */
const SPOOL_EVERY_MS = 500;

/**
 * Gives out frames one after the other from as few requests as possible: a request goes on while the next frame follows in it.
 *
 * INVARIANT: what was received of a frame when the connection broke or the work was stopped is in the spool.
 */
export class FrameStream {
  readonly #options: FrameStreamOptions;
  readonly #nowMs: () => number;
  #request: { source: Resource; position: number; end: number; chunks: AsyncIterator<Uint8Array> } | undefined;
  /** Received and not given out yet: the rest of the last network chunk. */
  #rest = new Uint8Array();
  /** They take turns: what one holds may still be on its way to the disk. */
  #frame = Buffer.alloc(0);
  #other = Buffer.alloc(0);

  constructor(options: FrameStreamOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  /**
   * The frame of a piece; a view that holds until the call after the next. `requestEnd`: where the request may end that brings it.
   *
   * @throws UpdateError FETCH_*
   */
  async next(piece: FetchPiece, requestEnd: number): Promise<Uint8Array> {
    const { bytes, offset } = piece.entry;
    [this.#frame, this.#other] = [this.#other, this.#frame];
    if (this.#frame.length < bytes) this.#frame = Buffer.allocUnsafeSlow(bytes);
    const frame = this.#frame.subarray(0, bytes);
    let filled = 0;
    if (!this.#continuesAt(piece)) {
      const spooled = await this.#options.spool.read(piece);
      frame.set(spooled);
      filled = spooled.length;
      await this.close();
      if (filled === bytes) return frame;
      const range = { start: offset + filled, end: requestEnd };
      const chunks = this.#options.readRange(piece.source, range)[Symbol.asyncIterator]();
      this.#request = { source: piece.source, position: range.start, end: requestEnd, chunks };
    }
    await this.#skipTo(offset + filled);
    await this.#fill(piece, frame, filled);
    await this.#options.spool.clear();
    return frame;
  }

  async close(): Promise<void> {
    const request = this.#request;
    this.#request = undefined;
    this.#rest = new Uint8Array();
    await request?.chunks.return?.();
  }

  #continuesAt({ source, entry }: FetchPiece): boolean {
    const request = this.#request;
    return (
      request?.source.digest === source.digest &&
      request.position <= entry.offset &&
      entry.offset + entry.bytes <= request.end
    );
  }

  async #skipTo(offset: number): Promise<void> {
    while (this.#request && this.#request.position < offset) {
      this.#take(Math.min(offset - this.#request.position, (await this.#available()).length));
    }
  }

  async #fill(piece: FetchPiece, frame: Buffer, from: number): Promise<void> {
    let filled = from;
    let spooled = from;
    let spooledAtMs = this.#nowMs();
    try {
      while (filled < frame.length) {
        const available = await this.#available();
        const part = available.subarray(0, frame.length - filled);
        frame.set(part, filled);
        this.#take(part.length);
        filled += part.length;
        if (filled < frame.length && this.#nowMs() - spooledAtMs > SPOOL_EVERY_MS) {
          await this.#options.spool.write(piece, frame.subarray(0, filled));
          spooled = filled;
          spooledAtMs = this.#nowMs();
        }
      }
    } catch (error) {
      if (filled > spooled) await this.#options.spool.write(piece, frame.subarray(0, filled));
      throw error;
    }
  }

  /** At least one received byte. */
  async #available(): Promise<Uint8Array> {
    while (this.#rest.length === 0) {
      const next = await this.#request?.chunks.next();
      if (!next || next.done === true) {
        this.#request = undefined;
        throw new UpdateError('FETCH_INTERRUPTED', 'The answer ended before what was asked for had come.', {
          remedy: 'The device goes on from there by itself. If it stays so, check the network.',
        });
      }
      this.#rest = next.value as Uint8Array<ArrayBuffer>;
      this.#options.onBytes(next.value.length);
    }
    return this.#rest;
  }

  #take(bytes: number): void {
    this.#rest = this.#rest.subarray(bytes);
    if (this.#request) this.#request.position += bytes;
  }
}
