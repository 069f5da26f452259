import type { IncomingMessage } from 'node:http';
import { Transform, type Readable } from 'node:stream';
import { createGunzip, createInflate } from 'node:zlib';
import type { Static, TSchema } from 'typebox';
import { formatProblems, validate } from '@drover/shared/validation';
import { ServeError } from '../../errors.js';

/** A request body in its two parts (Triton's binary tensor extension). */
export interface RequestBody {
  readonly head: Uint8Array;
  /** What follows the JSON: one buffer of its own, so that a tensor can move to another thread with it. Undefined without the extension. */
  readonly tail?: Uint8Array<ArrayBuffer>;
}

const bodyInvalid = (why: string, cause?: unknown): ServeError =>
  new ServeError('REQUEST_INVALID', `The request body ${why}.`, {
    remedy: 'Send a JSON document as the Open Inference Protocol v2 describes it.',
    cause,
  });

/**
 * Reads a JSON body, bounded while it streams. An empty body reads as `{}`.
 *
 * @throws ServeError REQUEST_TOO_LARGE, REQUEST_INVALID
 */
export async function readJson<Schema extends TSchema>(
  request: IncomingMessage,
  schema: Schema,
  maxBytes: number,
): Promise<Static<Schema>> {
  const { head, tail } = await readBody(request, maxBytes);
  if (tail) throw bodyInvalid('holds binary tensors, which only an inference may have');
  return parseHead(head, schema);
}

/** @throws ServeError REQUEST_INVALID */
export function parseHead<Schema extends TSchema>(
  head: Uint8Array,
  schema: Schema,
  isValid?: (json: unknown) => json is Static<Schema>,
): Static<Schema> {
  let json: unknown;
  try {
    json = head.length === 0 ? {} : JSON.parse(Buffer.from(head.buffer, head.byteOffset, head.length).toString('utf8'));
  } catch (cause) {
    throw bodyInvalid('is not JSON', cause);
  }
  if (isValid?.(json)) return json;
  return validate(schema, json, (problems) => bodyInvalid(`is malformed: ${formatProblems(problems)}`));
}

/** Reads a body in its two parts, bounded while it streams. @throws ServeError REQUEST_TOO_LARGE, REQUEST_INVALID */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<RequestBody> {
  const headBytes = headLength(request);
  const length = Number(request.headers['content-length'] ?? NaN);
  if (length > maxBytes) throw tooLarge(maxBytes);
  const stream = decoded(request);
  if (stream === request && headBytes !== undefined && headBytes <= length)
    return readParts(request, headBytes, length - headBytes);
  const whole = await readAll(stream, maxBytes);
  if (headBytes === undefined) return { head: whole };
  if (headBytes > whole.length) throw bodyInvalid('is shorter than its Inference-Header-Content-Length says');
  return { head: whole.subarray(0, headBytes), tail: new Uint8Array(whole.subarray(headBytes)) };
}

function headLength({ headers }: IncomingMessage): number | undefined {
  const text = headers['inference-header-content-length'];
  if (text === undefined) return undefined;
  if (typeof text === 'string' && /^\d{1,15}$/.test(text)) return Number(text);
  throw bodyInvalid('has an Inference-Header-Content-Length that is no number');
}

/** RFC 9110, section 8.4.1; what is compressed is bounded by its size after that. */
function decoded(request: IncomingMessage): Readable {
  const coding = request.headers['content-encoding']?.toLowerCase() ?? 'identity';
  if (coding === 'identity') return request;
  if (!Object.hasOwn(DECODERS, coding))
    throw bodyInvalid(`is compressed with "${coding.slice(0, 40)}"; gzip and deflate are read`);
  const decoder = DECODERS[coding as keyof typeof DECODERS]();
  request.once('error', (error) => decoder.destroy(error));
  decoder.once('close', () => request.unpipe(decoder));
  return request.pipe(decoder);
}

const DECODERS = { gzip: createGunzip, 'x-gzip': createGunzip, deflate: createInflate };

/** Both lengths are known: every byte is written once, to where it belongs. */
function readParts(request: IncomingMessage, headBytes: number, tailBytes: number): Promise<RequestBody> {
  return new Promise((resolve, reject) => {
    const head = Buffer.allocUnsafe(headBytes);
    const tail = Buffer.allocUnsafeSlow(tailBytes);
    let received = 0;
    request.on('data', (chunk: Buffer) => {
      const ofHead = Math.max(0, Math.min(chunk.length, headBytes - received));
      if (ofHead > 0) chunk.copy(head, received, 0, ofHead);
      if (chunk.length > ofHead) chunk.copy(tail, received + ofHead - headBytes, ofHead);
      received += chunk.length;
    });
    // node:http sees to it that there are exactly as many bytes as Content-Length says.
    request.on('end', () => resolve({ head, tail }));
    rejectBroken(request, reject);
  });
}

/** An error is made only where there is one: its stack trace costs more than all the rest. */
function rejectBroken(stream: Readable, reject: (error: ServeError) => void): void {
  stream.on('close', () => {
    if (!stream.readableEnded) reject(bodyInvalid('ended early'));
  });
  stream.on('error', (cause) => reject(bodyInvalid('could not be read', cause)));
}

function readAll(stream: Readable, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let received = 0;
    stream.on('data', (chunk: Buffer) => {
      received += chunk.length;
      if (received <= maxBytes) chunks.push(chunk);
      else {
        chunks.length = 0;
        // Of a compressed body the rest is not even decoded; the connection belongs to whoever answers.
        if (stream instanceof Transform) stream.destroy();
        reject(tooLarge(maxBytes));
      }
    });
    stream.on('end', () => resolve(Buffer.concat(chunks)));
    rejectBroken(stream, reject);
  });
}

const tooLarge = (maxBytes: number): ServeError =>
  new ServeError('REQUEST_TOO_LARGE', `The request body is larger than ${maxBytes} bytes.`, {
    remedy: 'Send smaller batches, or raise serve.maxBodyMiB.',
  });
