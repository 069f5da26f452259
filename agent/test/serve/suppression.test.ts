import { encodeOnnx, floatTensor, graph, int64Tensor, model, node, valueInfo } from '@drover/shared/onnx';
import { decoderFor } from '@drover/shared/task';
import fc from 'fast-check';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const MAX_OVERLAP = 0.4;
const THRESHOLD = 0.25;
const CLASSES = 3;

/** ONNX's own operator, with the same thresholds. */
const suppression = encodeOnnx(
  model({
    opset: 17,
    graph: graph({
      name: 'nms',
      inputs: [valueInfo('boxes', 'FP32', [1, 'n', 4]), valueInfo('scores', 'FP32', [1, CLASSES, 'n'])],
      outputs: [valueInfo('selected', 'INT64', ['m', 3])],
      initializers: [
        int64Tensor('most', [1], [1_000]),
        floatTensor('overlap', [1], Float32Array.of(MAX_OVERLAP)),
        floatTensor('threshold', [1], Float32Array.of(THRESHOLD)),
      ],
      nodes: [node('NonMaxSuppression', ['boxes', 'scores', 'most', 'overlap', 'threshold'], ['selected'])],
    }),
  }),
);

const decoder = decoderFor(
  {
    type: 'detection',
    detection: {
      boxes: 'boxes',
      scores: 'scores',
      format: 'yxyx',
      coordinates: 'pixels',
      scoreThreshold: THRESHOLD,
      maxOverlap: MAX_OVERLAP,
      maxBoxes: 1_000,
    },
  },
  [
    { name: 'boxes', datatype: 'FP32', shape: [1, -1, 4] },
    { name: 'scores', datatype: 'FP32', shape: [1, -1, CLASSES] },
  ],
);

describe('when overlapping boxes are suppressed', () => {
  let session: InferenceSession;
  beforeAll(async () => (session = await InferenceSession.create(suppression)));
  afterAll(() => session.release());

  const candidate = fc.tuple(
    fc.tuple(fc.nat(20), fc.nat(20), fc.integer({ min: 1, max: 15 }), fc.integer({ min: 1, max: 15 })),
    // Of halves of a hundredth, none of which is the threshold.
    fc.array(fc.nat(99), { minLength: CLASSES, maxLength: CLASSES }).map((each) => each.map((n) => (n + 0.5) / 100)),
  );

  it("keeps those that ONNX's NonMaxSuppression keeps, class by class", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(candidate, { minLength: 1, maxLength: 40 }), async (candidates) => {
        const boxes = Float32Array.from(candidates.flatMap(([[y, x, height, width]]) => [y, x, y + height, x + width]));
        const scores = Float32Array.from(candidates.flatMap(([, each]) => each));
        const byClass = Array.from({ length: CLASSES }, (_, kind) => candidates.map(([, each]) => each[kind] ?? 0));
        const { selected } = await session.run({
          boxes: new Tensor('float32', boxes, [1, candidates.length, 4]),
          scores: new Tensor('float32', Float32Array.from(byClass.flat()), [1, CLASSES, candidates.length]),
        });
        const rows = Array.from(selected?.data as BigInt64Array, Number);
        const expected = rows.flatMap((kind, at) => {
          if (at % 3 !== 1) return [];
          const [y1, x1, y2, x2] = boxes.subarray(4 * (rows[at + 1] ?? 0));
          return [JSON.stringify([kind, x1, y1, x2, y2])];
        });
        const decoded = decoder.decode({
          boxes: { datatype: 'FP32', shape: [1, candidates.length, 4], data: boxes },
          scores: { datatype: 'FP32', shape: [1, candidates.length, CLASSES], data: scores },
        });
        const found = decoded.kind === 'detection' ? (decoded.images[0] ?? []) : [];
        const kept = found.map(({ class: kind, x1, y1, x2, y2 }) => JSON.stringify([kind, x1, y1, x2, y2]));
        expect(kept.sort()).toEqual(expected.sort());
      }),
    );
  });
});
