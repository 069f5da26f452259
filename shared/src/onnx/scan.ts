import { notAModel, OnnxError } from './errors.js';
import { WIRE, WireReader, type ScanRequest } from './wire-reader.js';

export type { ScanRequest } from './wire-reader.js';

/** Bounds that no real model meets, so that a decoded one cannot take much more memory than its file. */
export interface ScanBounds {
  /** Fields of all messages together; each may become an object of some 200 bytes. Large real models have a million. */
  readonly maxFields: number;
  /** Bytes of 64-bit integers that are listed one by one instead of as raw data; each may become one of 32 bytes. */
  readonly maxWideBytes: number;
  /** The same for 32-bit integers, which carry the weights of some float16 models; each may become a number of 8 bytes. */
  readonly maxNarrowBytes: number;
}

export const DEFAULT_SCAN_BOUNDS: ScanBounds = {
  maxFields: 4_000_000,
  maxWideBytes: 16 * 1024 ** 2,
  maxNarrowBytes: 128 * 1024 ** 2,
};

/** libprotobuf gives up here as well (CodedInputStream, default recursion limit). */
const MAX_DEPTH = 100;
const MAX_TEXT_BYTES = 300;
/** The longest tag and the longest number behind it. */
const HEADER_BYTES = 15;

/**
 * Messages of onnx.proto by their fields (onnx/onnx, onnx/onnx.proto): all below which a tensor can lie, and those that readers make objects
 * of. What is not named here is stepped over.
 */
const MESSAGES = {
  model: { 7: 'graph', 8: 'leaf', 14: 'leaf', 20: 'training', 25: 'function' },
  graph: { 1: 'node', 5: 'tensor', 11: 'value', 12: 'value', 13: 'value', 15: 'sparse' },
  node: { 5: 'attribute' },
  attribute: { 5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph', 22: 'sparse', 23: 'sparse' },
  tensor: { 13: 'entry' },
  sparse: { 1: 'tensor', 2: 'tensor' },
  function: { 7: 'node', 11: 'attribute' },
  training: { 1: 'graph', 2: 'graph' },
  value: { 2: 'type' },
  type: { 1: 'tensorType', 4: 'sequence', 5: 'map' },
  tensorType: { 2: 'shape' },
  sequence: { 1: 'type' },
  map: { 2: 'type' },
  shape: { 1: 'leaf' },
  entry: {},
  leaf: {},
} as const satisfies Record<string, Readonly<Record<number, string>>>;
type Message = keyof typeof MESSAGES;
const childOf = (message: Message, field: number): Message | undefined =>
  (MESSAGES[message] as Readonly<Record<number, Message>>)[field];

/** Texts that decide, or that name the culprit. */
const TEXTS: Readonly<Partial<Record<Message, Readonly<Record<number, string>>>>> = {
  node: { 3: 'name', 4: 'opType', 7: 'domain' },
  tensor: { 8: 'name' },
  entry: { 1: 'key', 2: 'value' },
};
/** Packed lists: dims, int64_data and uint64_data of a tensor, ints of an attribute; and int32_data. */
const WIDE_LISTS: Readonly<Partial<Record<Message, readonly number[]>>> = { tensor: [1, 7, 11], attribute: [8] };
const NARROW_LISTS: Readonly<Partial<Record<Message, readonly number[]>>> = { tensor: [5] };

const DATA_LOCATION = 14;

interface Frame {
  readonly message: Message;
  /** Absolute position of the first byte behind it. */
  readonly end: number;
  readonly texts: Record<string, string>;
  isExternal: boolean;
  location: string | undefined;
}

/**
 * Walks the wire format of an ONNX file without building it in memory, and refuses what makes ONNX Runtime open a second file: external data
 * of any tensor (initializers, sparse ones, attributes, in subgraphs, functions and training information) and nodes with precompiled code.
 * Whatever two readers of protobuf could read differently is refused too, so that ONNX Runtime cannot see what the scan did not.
 *
 * A generator, because it is driven over bytes in memory as well as over a file, synchronously or not.
 *
 * @throws OnnxError ONNX_EXTERNAL_DATA, ONNX_UNSUPPORTED_OPERATOR, ONNX_NOT_A_MODEL, ONNX_TOO_LARGE, and nothing else
 */
export function* scan(
  size: number,
  { maxFields, maxWideBytes, maxNarrowBytes }: ScanBounds = DEFAULT_SCAN_BOUNDS,
): Generator<ScanRequest, void, Uint8Array> {
  const reader = new WireReader(size);
  let [fields, wideBytes, narrowBytes] = [0, 0, 0];
  let hasGraph = false;
  const frames: Frame[] = [newFrame('model', size)];
  yield* reader.need(8);
  if (reader.text(8).slice(4) === 'ORTM') throw notAModel('it is in the ORT format');

  for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
    if (reader.at === frame.end) {
      frames.pop();
      finish(frame, frames.at(-1));
      continue;
    }
    fields += 1;
    yield* reader.need(HEADER_BYTES);
    const { field, wireType } = reader.tag();
    if (wireType === WIRE.varint) {
      const value = reader.varint(10);
      if (frame.message === 'tensor' && field === DATA_LOCATION && value !== 0) frame.isExternal = true;
    } else if (wireType === WIRE.fixed64) reader.at += 8;
    else if (wireType === WIRE.fixed32) reader.at += 4;
    else {
      const length = reader.varint(5);
      const end = reader.at + length;
      if (end > frame.end) throw notAModel('a part is longer than the whole');
      const child = childOf(frame.message, field);
      const text = TEXTS[frame.message]?.[field];
      if (child !== undefined) {
        if (frames.length === MAX_DEPTH) throw notAModel(`it is nested deeper than ${MAX_DEPTH}`);
        hasGraph ||= frame.message === 'model' && child === 'graph';
        frames.push(newFrame(child, end));
        if (child === 'entry') frame.isExternal = true;
      } else {
        if (text !== undefined) {
          yield* reader.need(Math.min(length, MAX_TEXT_BYTES));
          frame.texts[text] = reader.text(Math.min(length, MAX_TEXT_BYTES));
        } else if (WIDE_LISTS[frame.message]?.includes(field)) wideBytes += length;
        else if (NARROW_LISTS[frame.message]?.includes(field)) narrowBytes += length;
        reader.at = end;
      }
    }
    if (reader.at > frame.end) throw notAModel('a part is longer than the whole');
    if (fields > maxFields || wideBytes > maxWideBytes || narrowBytes > maxNarrowBytes) throw tooMuch();
  }
  if (!hasGraph) throw notAModel('it has no graph');
}

const newFrame = (message: Message, end: number): Frame => ({
  message,
  end,
  texts: {},
  isExternal: false,
  location: undefined,
});

/** Only when a message is over are all its fields known: they may come in any order. */
function finish({ message, texts, isExternal, location }: Frame, parent: Frame | undefined): void {
  if (parent && message === 'entry' && texts['key'] === 'location') parent.location = texts['value'];
  if (message === 'tensor' && isExternal) throw externalFile(texts['name'] ?? '', location);
  if (message === 'node' && texts['opType'] === 'EPContext') {
    throw new OnnxError(
      'ONNX_UNSUPPORTED_OPERATOR',
      `The node "${texts['name'] ?? ''}" is ${texts['domain'] ?? ''}.EPContext: code compiled for one device, or the name of a file with it.`,
      {
        remedy: 'Publish the model as it was before it was compiled; each device compiles it for itself.',
        where: texts['name'],
      },
    );
  }
}

function externalFile(name: string, location: string | undefined): OnnxError {
  const target = location === undefined ? 'another file' : JSON.stringify(location);
  return new OnnxError(
    'ONNX_EXTERNAL_DATA',
    `The tensor "${name}" keeps its data in ${target}${leavesFolder(location) ? ', outside of the folder of the model' : ''}.`,
    {
      remedy: 'Save the model as one file (in Python: onnx.save_model(model, path, save_as_external_data=False)).',
      where: name,
    },
  );
}

const leavesFolder = (location: string | undefined): boolean =>
  location !== undefined && (/^([/\\]|[A-Za-z]:)/.test(location) || location.split(/[/\\]/).includes('..'));

const tooMuch = () =>
  new OnnxError(
    'ONNX_TOO_LARGE',
    'The model has more parts, or more numbers that are listed one by one, than any real one.',
    {
      remedy: 'Export it with raw tensor data, as every current exporter does.',
    },
  );

/** Scans a whole file in memory. @throws OnnxError, see `scan` */
export function scanOnnx(bytes: Uint8Array, bounds?: ScanBounds): void {
  const steps = scan(bytes.length, bounds);
  let answer = steps.next();
  while (answer.done !== true) {
    const { offset, bytes: length } = answer.value;
    answer = steps.next(bytes.subarray(offset, offset + length));
  }
}

/** Something that can be read at any place: an open file. The bytes are those from `offset` on, and fewer only at its end. */
export interface RandomReader {
  readonly size: number;
  read(request: ScanRequest): Promise<Uint8Array>;
}

/** Scans a file in constant memory, whatever its size. @throws OnnxError, see `scan`; what `reader` throws; the signal's reason */
export async function scanOnnxFile(reader: RandomReader, signal: AbortSignal): Promise<void> {
  const steps = scan(reader.size);
  let answer = steps.next();
  while (answer.done !== true) {
    signal.throwIfAborted();
    answer = steps.next(await reader.read(answer.value));
  }
}
