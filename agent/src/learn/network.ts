import {
  encodeOnnx,
  floatTensor,
  graph,
  model,
  node,
  valueInfo,
  type NodeProto,
  type TensorProto,
} from '@drover/shared/onnx';
import { seededRandom } from '@drover/shared/statistics';
import { LearnError } from './errors.js';

const OPSET = 17;

export interface DenseClassifierShape {
  /** Name of the input, [N, features]. */
  readonly inputName?: string;
  readonly features: number;
  /** Widths of the hidden layers; none makes softmax regression. */
  readonly hidden: readonly number[];
  readonly classes: number;
  readonly seed: number;
  /** Per feature: the model computes (x − mean) / scale first. Constants, which training leaves alone. */
  readonly standardize?: { readonly mean: Float32Array; readonly scale: Float32Array };
}

/**
 * A classifier with fresh weights as an ONNX model: float32 input [N, features], outputs `logits` and `probabilities`, both [N, classes], N variable.
 * Weights are He-initialised (He et al. 2015, "Delving Deep into Rectifiers", eq. 10: normal, variance 2 / fan-in), biases zero; the last layer,
 * which no Relu follows, has variance 1 / fan-in (Glorot & Bengio 2010, forward pass).
 *
 * @throws LearnError LEARN_RECIPE_INVALID
 */
export function buildDenseClassifier(shape: DenseClassifierShape): Uint8Array {
  checkShape(shape);
  const { inputName = 'features', features, hidden, classes, seed, standardize } = shape;
  const random = seededRandom(seed).fork('weights');
  const nodes: NodeProto[] = [];
  const initializers: TensorProto[] = [];
  let current = inputName;

  if (standardize) {
    initializers.push(floatTensor('standardize.mean', [features], standardize.mean));
    initializers.push(floatTensor('standardize.scale', [features], standardize.scale));
    nodes.push(node('Sub', [current, 'standardize.mean'], ['centred']));
    nodes.push(node('Div', ['centred', 'standardize.scale'], ['standardized']));
    current = 'standardized';
  }
  const widths = [features, ...hidden, classes];
  widths.slice(1).forEach((outputs, layer) => {
    const inputs = widths[layer] ?? 0;
    const isLast = layer === hidden.length;
    const deviation = Math.sqrt((isLast ? 1 : 2) / inputs);
    const weight = Float32Array.from({ length: inputs * outputs }, () => deviation * random.normal());
    const prefix = `layer${layer + 1}`;
    initializers.push(floatTensor(`${prefix}.weight`, [inputs, outputs], weight));
    initializers.push(floatTensor(`${prefix}.bias`, [outputs], new Float32Array(outputs)));
    const sum = isLast ? 'logits' : `${prefix}.sum`;
    nodes.push(node('Gemm', [current, `${prefix}.weight`, `${prefix}.bias`], [sum]));
    if (!isLast) nodes.push(node('Relu', [sum], [`${prefix}.out`]));
    current = isLast ? sum : `${prefix}.out`;
  });
  nodes.push(node('Softmax', ['logits'], ['probabilities'], { axis: { int: -1 } }));

  return encodeOnnx(
    model({
      opset: OPSET,
      graph: graph({
        name: 'dense_classifier',
        inputs: [valueInfo(inputName, 'FP32', ['N', features])],
        outputs: [valueInfo('logits', 'FP32', ['N', classes]), valueInfo('probabilities', 'FP32', ['N', classes])],
        initializers,
        nodes,
      }),
    }),
  );
}

function checkShape({ features, hidden, classes, standardize }: DenseClassifierShape): void {
  const refuse = (why: string) =>
    new LearnError('LEARN_RECIPE_INVALID', `Such a classifier cannot be built: ${why}.`, {
      remedy: 'Mend its description.',
    });
  for (const width of [features, ...hidden]) {
    if (!Number.isInteger(width) || width < 1) throw refuse(`a layer of ${width}`);
  }
  if (!Number.isInteger(classes) || classes < 2) throw refuse(`${classes} classes`);
  if (!standardize) return;
  if (standardize.mean.length !== features || standardize.scale.length !== features) {
    throw refuse(`mean and scale must have ${features} values`);
  }
  if (standardize.scale.some((scale) => !(scale > 0 && Number.isFinite(scale))))
    throw refuse('a scale is not positive');
}

/**
 * Population mean and standard deviation of each feature, by Welford's update (Technometrics 1962; Knuth, TAOCP vol. 2, 4.2.2): exact for features
 * far from zero, and for those that never vary, which get scale 1.
 *
 * @param features row-major, rows of `width` values
 */
export function standardization(features: Float32Array, width: number): { mean: Float32Array; scale: Float32Array } {
  const count = features.length / width;
  const mean = new Float64Array(width);
  const squares = new Float64Array(width);
  features.forEach((value, index) => {
    const column = index % width;
    const before = mean[column] ?? 0;
    const after = before + (value - before) / (Math.floor(index / width) + 1);
    mean[column] = after;
    squares[column] = (squares[column] ?? 0) + (value - before) * (value - after);
  });
  return {
    mean: Float32Array.from(mean),
    scale: Float32Array.from(squares, (sum) => (sum > 0 ? Math.sqrt(sum / count) : 1)),
  };
}
