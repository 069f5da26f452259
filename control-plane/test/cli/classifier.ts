import { encodeOnnx, floatTensor, graph, model, node, valueInfo } from '@drover/shared/onnx';
import { seededRandom } from '@drover/shared/statistics';

export const LABELS = ['low', 'high'];
const WIDTH = 3;

/** A real ONNX classifier that is easy to check: "high" where the three features sum to more than 0. */
export function sumClassifier(): Uint8Array {
  const weights = Float32Array.from({ length: WIDTH * 2 }, (_, index) => (index % 2 === 0 ? -4 : 4));
  return encodeOnnx(
    model({
      opset: 17,
      graph: graph({
        name: 'sum',
        inputs: [valueInfo('features', 'FP32', ['batch', WIDTH])],
        outputs: [valueInfo('probabilities', 'FP32', ['batch', 2])],
        initializers: [floatTensor('weights', [WIDTH, 2], weights)],
        nodes: [
          node('MatMul', ['features', 'weights'], ['logits']),
          node('Softmax', ['logits'], ['probabilities'], { axis: { int: 1 } }),
        ],
      }),
    }),
  );
}

/** CSV of normal rows with their true labels. `errors`: every so many labels are wrong. */
export function samplesCsv(rows: number, seed: number, errors = Infinity): string {
  const random = seededRandom(seed);
  const lines = Array.from({ length: rows }, (_, row) => {
    const values = Array.from({ length: WIDTH }, () => random.normal().toFixed(4));
    const isHigh = values.reduce((sum, value) => sum + Number(value), 0) > 0;
    return [...values, LABELS[Number(isHigh) ^ Number(row % errors === errors - 1)]].join(',');
  });
  return ['temperature,pressure,humidity,label', ...lines].join('\n');
}
