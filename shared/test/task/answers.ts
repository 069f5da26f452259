import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { agreement, decoderFor, type Decoded, type Task } from '../../src/task/index.js';
import type { ModelTensor, NumericTensor, TensorMap, TensorSignature } from '../../src/tensors/index.js';

export const EXACT = { absolute: 0, relative: 0 };

export const floats = (shape: readonly number[], data: Iterable<number>): NumericTensor => ({
  datatype: 'FP32',
  shape,
  data: Float32Array.from(data),
});

export const integers = (shape: readonly number[], data: Iterable<number>): NumericTensor => ({
  datatype: 'INT64',
  shape,
  data: BigInt64Array.from([...data].map(BigInt)),
});

export const signatureOf = (tensors: TensorMap): TensorSignature[] =>
  Object.entries(tensors).map(([name, { datatype, shape }]: [string, ModelTensor]) => ({
    name,
    datatype,
    shape: [...shape],
  }));

/** By a decoder that was made for the shapes of this very answer. */
export const decode = (task: Task, tensors: TensorMap): Decoded =>
  decoderFor(task, signatureOf(tensors)).decode(tensors);

export const compare = (task: Task, expected: TensorMap, actual: TensorMap, tolerance = EXACT) =>
  agreement(decode(task, expected), decode(task, actual), { tolerance });

export const classifier: Task = { type: 'classification', scores: 'scores' };

export const detector = {
  type: 'detection',
  detection: {
    boxes: 'boxes',
    scores: 'scores',
    format: 'xyxy',
    coordinates: 'pixels',
    scoreThreshold: 0,
    maxBoxes: 1_000,
  },
} satisfies Task;

/** Of one image, in the form that `detector` reads; each box its corners and its class, of two. */
export const boxAnswer = (boxes: readonly (readonly number[])[], score = 1): TensorMap => ({
  boxes: floats(
    [1, boxes.length, 4],
    boxes.flatMap((box) => box.slice(0, 4)),
  ),
  scores: floats(
    [1, boxes.length, 2],
    boxes.flatMap(([, , , , kind]) => (kind === 0 ? [score, -1] : [-1, score])),
  ),
});

/** Corners and class of a box; crowded, so that boxes overlap. */
export const box = fc
  .tuple(fc.nat(12), fc.nat(12), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }), fc.nat(1))
  .map(([x, y, width, height, kind]) => [x, y, x + width, y + height, kind]);
export const boxes = fc.array(box, { maxLength: 12 });

export const reference = JSON.parse(readFileSync(new URL('reference.json', import.meta.url), 'utf8')) as {
  readonly boxes: readonly { readonly expected: number[][]; readonly actual: number[][]; readonly matched: number }[];
  readonly pixels: readonly { readonly expected: number[]; readonly actual: number[]; readonly meanIou: number }[];
  readonly scores: readonly { readonly logits: number[][]; readonly probabilities: number[][] }[];
};
