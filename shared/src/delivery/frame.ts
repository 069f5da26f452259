import { promisify } from 'node:util';
import { brotliCompress, brotliDecompress, constants } from 'node:zlib';
import { elementsOf, type Chunk } from './chunk-index.js';
import { baseContexts, CONTEXT_MODES, mergeRare, MIN_CONTEXT, type ContextMode, type Contexts } from './contexts.js';
import { ELEMENT_BYTES, type ElementType } from './element-type.js';
import { addDifferences, differences, fromWords, restoreSigns, rotateSigns, toWords } from './elements.js';
import { invalidFrame } from './errors.js';
import { decodeValues, encodeValues, estimateBits, type Scheme } from './symbols.js';
import { WireReader, WireWriter } from './wire.js';

/**
 * How a chunk is coded; the persisted number is the position. `stored`: as it is. `brotli`: the bytes. `planes`: byte planes of the elements, then
 * brotli. `symbols`: elements by sign, exponent and mantissa, entropy-coded. `xor-brotli`, `difference-symbols`: against elements that the device has.
 */
export const TRANSFORMS = ['stored', 'brotli', 'planes', 'symbols', 'xor-brotli', 'difference-symbols'] as const;
export type Transform = (typeof TRANSFORMS)[number];

export const needsBase = (transform: Transform): boolean =>
  transform === 'xor-brotli' || transform === 'difference-symbols';

export interface Frame {
  readonly transform: Transform;
  readonly bytes: Uint8Array;
}

type Shape = Pick<Chunk, 'bytes' | 'head' | 'type'>;

const compress = promisify(brotliCompress);
const decompress = promisify(brotliDecompress);
/** Larger inputs get a quality that is fast enough to be paid for each release and base. */
const THOROUGH_BYTES = 64 * 1024;
const ESTIMATE_STRIDE = 8;
const SETTLED_SHARE = 0.4;
/** Of the low byte of the numbers: where it is nearly random, nothing but the distribution of the high bits can be used. */
const STRUCTURED_BITS = 7.6;

/** The smallest frame that we know to make; never larger than the chunk. `base` holds the elements to code against. */
export async function encodeFrame(content: Uint8Array, shape: Shape, base?: Uint8Array): Promise<Frame> {
  const candidates: Frame[] = [{ transform: 'stored', bytes: content }];
  const { start, end } = elementsOf(shape);
  const residue = Buffer.concat([content.subarray(0, start), content.subarray(end)]);
  const isTyped = shape.type !== 'bytes';
  const words = toWords(content.subarray(start, end), shape.type);
  if (base && base.length !== end - start) throw new RangeError('The base does not have the elements of the chunk.');
  if (base && isTyped) candidates.push(differenceFrame(words, toWords(base, shape.type), shape.type, residue));
  if (base && (!isTyped || mostlyEqual(content.subarray(start, end), base))) {
    const changed = Buffer.from(content);
    xorInto(changed.subarray(start, end), base);
    candidates.push({ transform: 'xor-brotli', bytes: await compressed(changed) });
  }
  // A frame against a base that is this small is not beaten by one without.
  const isSettled = candidates.some(({ bytes }) => bytes.length < SETTLED_SHARE * content.length);
  if (isTyped && !isSettled) candidates.push(symbolFrame(words, shape.type, residue));
  if (isTyped && !isSettled && hasStructure(words)) {
    candidates.push({ transform: 'planes', bytes: await compressed(toPlanes(words, shape.type, residue)) });
  }
  if ((!isTyped || shape.type === 'int8') && !isSettled)
    candidates.push({ transform: 'brotli', bytes: await compressed(content) });
  return candidates.reduce((best, other) => (other.bytes.length < best.bytes.length ? other : best));
}

/**
 * The chunk's bytes. Never makes more than the chunk has, whatever the frame says; whether they are the right ones, the hash of the chunk tells.
 *
 * @throws DeliveryError FRAME_INVALID
 */
export async function decodeFrame({ transform, bytes }: Frame, shape: Shape, base?: Uint8Array): Promise<Uint8Array> {
  const { start, count, end } = elementsOf(shape);
  if (needsBase(transform) && base?.length !== end - start) throw invalidFrame('it needs another base');
  switch (transform) {
    case 'stored':
      if (bytes.length !== shape.bytes) throw invalidFrame('it has another length than its chunk');
      return bytes;
    case 'brotli':
      return decompressed(bytes, shape.bytes);
    case 'planes':
      return fromPlanes(await decompressed(bytes, shape.bytes), shape);
    case 'xor-brotli': {
      const content = await decompressed(bytes, shape.bytes);
      if (base) xorInto(content.subarray(start, end), base);
      return content;
    }
    case 'symbols': {
      const { reader, residue, scheme } = openSymbols(bytes, shape);
      const words = decodeValues(reader, single(count), { kind: 'prefix', bits: scheme });
      if (shape.type !== 'int8') restoreSigns(words, shape.type);
      return assembled(words, residue, shape);
    }
    case 'difference-symbols': {
      const { reader, residue, scheme } = openSymbols(bytes, shape);
      const mode = CONTEXT_MODES[reader.byte()];
      if (!mode) throw invalidFrame('it has an unknown kind of context');
      const baseWords = toWords(base ?? new Uint8Array(), shape.type);
      const contexts = baseContexts(baseWords, shape.type, mode);
      const words = decodeValues(reader, contexts, { kind: 'magnitude', bits: scheme });
      addDifferences(words, baseWords, shape.type);
      return assembled(words, residue, shape);
    }
  }
}

const single = (count: number): Contexts => ({ of: new Uint16Array(count), count: 1 });

/** What stays beside an exponent of 8, 5 and 8 bits; bytes are symbols as they are. */
const RAW_BITS: Readonly<Record<Exclude<ElementType, 'bytes'>, number>> = {
  float32: 24,
  float16: 11,
  bfloat16: 8,
  int8: 0,
};

function symbolFrame(elements: Uint32Array, type: Exclude<ElementType, 'bytes'>, residue: Uint8Array): Frame {
  const words = elements.slice();
  if (type !== 'int8') rotateSigns(words, type);
  const scheme: Scheme = { kind: 'prefix', bits: RAW_BITS[type] };
  const writer = new WireWriter().bytes(residue).byte(scheme.bits);
  encodeValues(writer, words, single(words.length), scheme);
  return { transform: 'symbols', bytes: writer.finish() };
}

/** What the elements take as symbols, without any base. */
export function elementEntropyBits(elements: Uint8Array, type: Exclude<ElementType, 'bytes'>): number {
  const words = toWords(elements, type);
  if (type !== 'int8') rotateSigns(words, type);
  return estimateBits(words, single(words.length), { kind: 'prefix', bits: RAW_BITS[type] }, 1);
}

/** Finer symbols follow the distribution more closely and have larger tables; contexts too. The estimate decides for each chunk. */
function differenceFrame(
  words: Uint32Array,
  base: Uint32Array,
  type: Exclude<ElementType, 'bytes'>,
  residue: Uint8Array,
): Frame {
  const values = differences(words, base, type);
  const stride = values.length > 8 * MIN_CONTEXT ? ESTIMATE_STRIDE : 1;
  const sampled = everyNth(values, stride);
  const sampledBase = everyNth(base, stride);
  let best: { mode: ContextMode; scheme: Scheme; bits: number } | undefined;
  for (const mode of CONTEXT_MODES) {
    const contexts = mergeRare(baseContexts(sampledBase, type, mode), MIN_CONTEXT / stride);
    for (const fineness of [2, 3]) {
      const scheme: Scheme = { kind: 'magnitude', bits: fineness };
      const bits = estimateBits(sampled, contexts, scheme, stride);
      if (!best || bits < best.bits) best = { mode, scheme, bits };
    }
  }
  if (!best) throw new Error('There is no kind of context.');
  const writer = new WireWriter().bytes(residue).byte(best.scheme.bits).byte(CONTEXT_MODES.indexOf(best.mode));
  encodeValues(writer, values, baseContexts(base, type, best.mode), best.scheme);
  return { transform: 'difference-symbols', bytes: writer.finish() };
}

function openSymbols(bytes: Uint8Array, shape: Shape) {
  if (shape.type === 'bytes') throw invalidFrame('its chunk has no elements');
  const { start, end } = elementsOf(shape);
  const reader = new WireReader(bytes, invalidFrame);
  const residue = reader.bytes(shape.bytes - (end - start));
  const scheme = reader.byte();
  return { reader, residue, scheme };
}

function assembled(words: Uint32Array, residue: Uint8Array, shape: Shape): Uint8Array {
  const { start, end } = elementsOf(shape);
  const content = new Uint8Array(shape.bytes);
  content.set(residue.subarray(0, start));
  content.set(fromWords(words, shape.type), start);
  content.set(residue.subarray(start), end);
  return content;
}

/** All lowest bytes, then all second ones, and so on; the sign below the mantissa. */
function toPlanes(elements: Uint32Array, type: ElementType, residue: Uint8Array): Uint8Array {
  const words = elements.slice();
  if (type !== 'int8') rotateSigns(words, type);
  const interleaved = fromWords(words, type);
  const planes = new Uint8Array(interleaved.length + residue.length);
  const width = ELEMENT_BYTES[type];
  for (let plane = 0, position = 0; plane < width; plane++) {
    for (let at = plane; at < interleaved.length; at += width) planes[position++] = interleaved[at] ?? 0;
  }
  planes.set(residue, interleaved.length);
  return planes;
}

function fromPlanes(planes: Uint8Array, shape: Shape): Uint8Array {
  const { start, end } = elementsOf(shape);
  const interleaved = new Uint8Array(end - start);
  const width = ELEMENT_BYTES[shape.type];
  for (let plane = 0, position = 0; plane < width; plane++) {
    for (let at = plane; at < interleaved.length; at += width) interleaved[at] = planes[position++] ?? 0;
  }
  const words = toWords(interleaved, shape.type);
  if (shape.type !== 'int8') restoreSigns(words, shape.type);
  return assembled(words, planes.subarray(interleaved.length), shape);
}

function hasStructure(words: Uint32Array): boolean {
  const counts = new Uint32Array(256);
  const stride = words.length > 16_384 ? 4 : 1;
  let total = 0;
  for (let index = 0; index < words.length; index += stride, total++) {
    const low = (words[index] ?? 0) & 255;
    counts[low] = (counts[low] ?? 0) + 1;
  }
  const bits = counts.reduce((sum, count) => (count === 0 ? sum : sum + count * Math.log2(total / count)), 0);
  return bits < STRUCTURED_BITS * total;
}

function everyNth(values: Uint32Array, stride: number): Uint32Array {
  const sampled = new Uint32Array(Math.ceil(values.length / stride));
  for (let index = 0; index < sampled.length; index++) sampled[index] = values[index * stride] ?? 0;
  return sampled;
}

function mostlyEqual(content: Uint8Array, base: Uint8Array): boolean {
  let equal = 0;
  for (let index = 0; index < content.length; index++) if (content[index] === base[index]) equal += 1;
  return equal * 2 > content.length;
}

function xorInto(target: Uint8Array, other: Uint8Array): void {
  for (let index = 0; index < target.length; index++) target[index] = (target[index] ?? 0) ^ (other[index] ?? 0);
}

const compressed = (content: Uint8Array): Promise<Buffer> =>
  compress(content, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: content.length <= THOROUGH_BYTES ? 9 : 5,
      [constants.BROTLI_PARAM_SIZE_HINT]: content.length,
    },
  });

/** Exactly `bytes` of them: a frame that would become more is cut off by zlib before it has the memory (CWE-409). */
async function decompressed(coded: Uint8Array, bytes: number): Promise<Buffer> {
  let content: Buffer;
  try {
    content = await decompress(coded, { maxOutputLength: Math.max(1, bytes) });
  } catch (cause) {
    throw invalidFrame('its compression is damaged, or it would become larger than its chunk', cause);
  }
  if (content.length !== bytes) throw invalidFrame(`it has ${content.length} bytes; its chunk has ${bytes}`);
  return content;
}
