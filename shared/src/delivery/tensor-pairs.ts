import { elementsOf, type Chunk } from './chunk-index.js';
import type { TensorSpan } from './onnx-tensors.js';

/** Finds where the elements of a chunk most probably have their older selves in the base file; undefined where there are none. */
export type BaseLocator = (chunk: Chunk) => number | undefined;

/**
 * Pairs the tensors of two ONNX files: the same name, element type and size; else, since exporters number their tensors anew, the same position among
 * those of equal type and size. A wrong pair costs bytes and nothing else.
 */
export function pairTensors(target: readonly TensorSpan[], base: readonly TensorSpan[]): BaseLocator {
  const named = new Map(base.map((span) => [keyOf(span, span.name), span]));
  const baseShapes = byShape(base);
  const seen = new Map<string, number>();
  const pairs: { readonly target: TensorSpan; readonly base: TensorSpan }[] = [];
  for (const span of target) {
    const ordinal = seen.get(keyOf(span)) ?? 0;
    seen.set(keyOf(span), ordinal + 1);
    const pair = named.get(keyOf(span, span.name)) ?? baseShapes.get(keyOf(span))?.[ordinal];
    if (pair) pairs.push({ target: span, base: pair });
  }
  return (chunk) => {
    const { start, end } = elementsOf(chunk);
    const pair = lastBeginningAtOrBefore(pairs, chunk.offset + start);
    if (!pair || chunk.offset + end > pair.target.offset + pair.target.bytes) return undefined;
    return pair.base.offset + (chunk.offset + start - pair.target.offset);
  };
}

const keyOf = ({ type, bytes }: TensorSpan, name = ''): string => `${type} ${bytes} ${name}`;

function byShape(spans: readonly TensorSpan[]): Map<string, TensorSpan[]> {
  const shapes = new Map<string, TensorSpan[]>();
  for (const span of spans) {
    const same = shapes.get(keyOf(span));
    if (same) same.push(span);
    else shapes.set(keyOf(span), [span]);
  }
  return shapes;
}

/** `pairs` are in the order of the target file. */
function lastBeginningAtOrBefore<Pair extends { readonly target: TensorSpan }>(
  pairs: readonly Pair[],
  offset: number,
): Pair | undefined {
  let low = 0;
  let high = pairs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((pairs[middle]?.target.offset ?? Infinity) <= offset) low = middle + 1;
    else high = middle;
  }
  return pairs[low - 1];
}
