import type { ByteSource } from './byte-source.js';
import { elementTypeOf, type ElementType } from './element-type.js';

/** Where the elements of one tensor lie in the file. */
export interface TensorSpan {
  readonly name: string;
  readonly type: ElementType;
  /** Of the first element, in bytes from the start of the file. */
  readonly offset: number;
  readonly bytes: number;
}

/** Graphs within attributes of nodes (If, Loop, Scan) nest; deeper ones are left to the content-defined cut. */
const MAX_DEPTH = 16;
const MAX_TENSORS = 200_000;
const MAX_NAME_BYTES = 4096;

/** Thrown and caught in this file alone: the bytes are not what they would have to be. */
class NotOnnx extends Error {}

/**
 * The spans of all initializers and constant tensors of an ONNX file, in the order of the file (onnx.proto, field numbers as there). Walks the
 * protobuf wire format and skips over the elements, so that it needs neither the memory nor the time to read them. A file that is something else has
 * none: boundaries are a matter of size, never of correctness.
 */
export function tensorSpans(source: ByteSource): TensorSpan[] {
  const spans: TensorSpan[] = [];
  try {
    eachField(source, { start: 0, end: source.bytes }, (field, span) => {
      if (field === 7 && span) readGraph(source, span, spans, 0);
    });
  } catch (error) {
    if (error instanceof NotOnnx) return [];
    throw error;
  }
  return spans;
}

interface Span {
  readonly start: number;
  readonly end: number;
}

/** GraphProto: 1 node, 5 initializer. */
function readGraph(source: ByteSource, graph: Span, spans: TensorSpan[], depth: number): void {
  if (depth > MAX_DEPTH) throw new NotOnnx();
  eachField(source, graph, (field, span) => {
    if (field === 5 && span) readTensor(source, span, spans);
    // NodeProto: 5 attribute.
    if (field === 1 && span) {
      eachField(source, span, (part, attribute) => {
        if (part === 5 && attribute) readAttribute(source, attribute, spans, depth);
      });
    }
  });
}

/** AttributeProto: 5 t, 6 g, 10 tensors, 11 graphs. */
function readAttribute(source: ByteSource, attribute: Span, spans: TensorSpan[], depth: number): void {
  eachField(source, attribute, (field, span) => {
    if ((field === 5 || field === 10) && span) readTensor(source, span, spans);
    if ((field === 6 || field === 11) && span) readGraph(source, span, spans, depth + 1);
  });
}

/** TensorProto: 2 data_type, 4 float_data, 8 name, 9 raw_data. */
function readTensor(source: ByteSource, tensor: Span, spans: TensorSpan[]): void {
  let name = '';
  let dataType = 0;
  let data: Span | undefined;
  eachField(source, tensor, (field, span, value) => {
    if (field === 2 && value !== undefined) dataType = value;
    if ((field === 4 || field === 9) && span && (!data || span.end - span.start > data.end - data.start)) data = span;
    if (field === 8 && span) {
      const bytes = Math.min(span.end - span.start, MAX_NAME_BYTES);
      name = Buffer.from(source.read(span.start, bytes)).toString('utf8');
    }
  });
  if (!data || data.end === data.start) return;
  if (spans.length >= MAX_TENSORS) throw new NotOnnx();
  spans.push({ name, type: elementTypeOf(dataType), offset: data.start, bytes: data.end - data.start });
}

/** One call per field of a message: `span` for length-delimited ones, `value` for varints (protobuf.dev, "Encoding"). */
function eachField(
  source: ByteSource,
  { start, end }: Span,
  visit: (field: number, span: Span | undefined, value: number | undefined) => void,
): void {
  for (let position = start; position < end;) {
    const tag = varintAt(source, position, end);
    position = tag.next;
    const wireType = tag.value % 8;
    const field = Math.floor(tag.value / 8);
    if (field === 0) throw new NotOnnx();
    if (wireType === 0) {
      const { value, next } = varintAt(source, position, end);
      visit(field, undefined, value);
      position = next;
    } else if (wireType === 2) {
      const { value, next } = varintAt(source, position, end);
      if (value > end - next) throw new NotOnnx();
      visit(field, { start: next, end: next + value }, undefined);
      position = next + value;
    } else if (wireType === 1 || wireType === 5) {
      position += wireType === 1 ? 8 : 4;
      if (position > end) throw new NotOnnx();
    } else {
      throw new NotOnnx();
    }
  }
}

/** Negative numbers have ten bytes and lose precision here; none of the fields that matter is ever negative. */
function varintAt(source: ByteSource, position: number, end: number): { value: number; next: number } {
  const bytes = source.read(position, Math.min(10, end - position));
  let value = 0;
  for (const [index, byte] of bytes.entries()) {
    value += (byte & 127) * 128 ** index;
    if (byte < 128) return { value, next: position + index + 1 };
  }
  throw new NotOnnx();
}
