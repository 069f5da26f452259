import { setImmediate as nextTurn } from 'node:timers/promises';
import { encodeOnnx, floatTensor, graph, model, node, valueInfo } from '@drover/shared/onnx';
import { seededRandom, type SeededRandom } from '@drover/shared/statistics';

const WIDTH = 410;
const CLASSES = 205;

/** A residual network: `layers` square matrices and a head of half the size, weights as they are initialised for ReLU. */
export interface Network {
  readonly layers: readonly Float32Array[];
  readonly head: Float32Array;
}

/** 99 layers and the head have 63.8 MiB, the head .5 % of it. */
export function freshNetwork(seed: number, layers: number): Network {
  const random = seededRandom(seed);
  const normal = (count: number) => Float32Array.from({ length: count }, () => random.normal() * Math.sqrt(2 / WIDTH));
  return {
    layers: Array.from({ length: layers }, () => normal(WIDTH * WIDTH)),
    head: normal(WIDTH * CLASSES),
  };
}

export function encodeNetwork({ layers, head }: Network): Uint8Array {
  const names = layers.map((_, index) => `layer${index}.weight`);
  const nodes = names.flatMap((name, index) => [
    node('MatMul', [`h${index}`, name], [`a${index}`]),
    node('Relu', [`a${index}`], [`r${index}`]),
    node('Add', [`h${index}`, `r${index}`], [`h${index + 1}`]),
  ]);
  return encodeOnnx(
    model({
      opset: 17,
      graph: graph({
        name: 'payload',
        inputs: [valueInfo('h0', 'FP32', ['batch', WIDTH])],
        outputs: [valueInfo('scores', 'FP32', ['batch', CLASSES])],
        initializers: [
          ...layers.map((weights, index) => floatTensor(names[index] ?? '', [WIDTH, WIDTH], weights)),
          floatTensor('head.weight', [WIDTH, CLASSES], head),
        ],
        nodes: [...nodes, node('MatMul', [`h${layers.length}`, 'head.weight'], ['scores'])],
      }),
    }),
  );
}

/** Every weight · (1 + ε), ε normal with this standard deviation. */
export function scaled({ layers, head }: Network, sigma: number, seed: number): Network {
  const random = seededRandom(seed);
  const change = (weights: Float32Array) => weights.map((weight) => weight * (1 + sigma * random.normal()));
  return { layers: layers.map(change), head: change(head) };
}

export const withNewHead = (network: Network, seed: number): Network => ({
  ...network,
  head: freshNetwork(seed, 0).head,
});

const BATCH = 2;
const LEARNING_RATE = 1e-3;
const [BETA1, BETA2, EPSILON] = [0.9, 0.999, 1e-8];

/**
 * All layers trained by Adam (Kingma & Ba, arXiv:1412.6980, algorithm 1, its default settings) on softmax cross-entropy, on classes that are clusters around
 * random centres. Forward and backward in float32, as frameworks do.
 */
export async function fineTunedByAdam(
  network: Network,
  seed: number,
  steps: number,
  progress: (step: number) => void,
): Promise<Network> {
  const random = seededRandom(seed);
  const weights = [...network.layers, network.head].map((layer) => Float32Array.from(layer));
  const moments = weights.map(({ length }) => ({ first: new Float32Array(length), second: new Float32Array(length) }));
  const centres = Array.from({ length: CLASSES }, () => Float32Array.from({ length: WIDTH }, () => random.normal()));
  for (let step = 1; step <= steps; step++) {
    const gradients = weights.map(({ length }) => new Float32Array(length));
    for (let sample = 0; sample < BATCH; sample++) addGradients(weights, gradients, centres, random);
    for (const [index, layer] of weights.entries()) adamStep(layer, gradients[index], moments[index], step);
    progress(step);
    // Minutes without a turn would leave connections stale that the server has closed.
    await nextTurn();
  }
  return { layers: weights.slice(0, -1), head: weights.at(-1) ?? network.head };
}

function adamStep(
  weights: Float32Array,
  gradients: Float32Array | undefined,
  moments: { readonly first: Float32Array; readonly second: Float32Array } | undefined,
  step: number,
): void {
  if (!gradients || !moments) return;
  const { first, second } = moments;
  const rate = (LEARNING_RATE * Math.sqrt(1 - BETA2 ** step)) / (1 - BETA1 ** step);
  for (let index = 0; index < weights.length; index++) {
    const gradient = (gradients[index] ?? 0) / BATCH;
    const mean = BETA1 * (first[index] ?? 0) + (1 - BETA1) * gradient;
    const square = BETA2 * (second[index] ?? 0) + (1 - BETA2) * gradient * gradient;
    first[index] = mean;
    second[index] = square;
    weights[index] = (weights[index] ?? 0) - (rate * mean) / (Math.sqrt(square) + EPSILON);
  }
}

function addGradients(
  weights: readonly Float32Array[],
  gradients: readonly Float32Array[],
  centres: readonly Float32Array[],
  random: SeededRandom,
): void {
  const label = random.nextInt(CLASSES);
  const depth = weights.length - 1;
  const hidden: Float32Array[] = [Float32Array.from(centres[label] ?? [], (value) => value + 0.5 * random.normal())];
  const active: Float32Array[] = [];
  for (let layer = 0; layer < depth; layer++) {
    const before = hidden[layer] ?? new Float32Array(WIDTH);
    // Scaled down, so that the sum of so many layers stays in range.
    const pushed = timesRows(before, weights[layer] ?? new Float32Array(), WIDTH).map((value) => Math.max(0, value));
    active.push(pushed);
    hidden.push(before.map((value, index) => (value + (pushed[index] ?? 0)) * 0.7));
  }
  const top = hidden[depth] ?? new Float32Array(WIDTH);
  const scores = timesRows(top, weights[depth] ?? new Float32Array(), CLASSES);
  const highest = scores.reduce((most, score) => Math.max(most, score), -Infinity);
  const exponentials = scores.map((score) => Math.exp(score - highest));
  const sum = exponentials.reduce((total, value) => total + value, 0);
  const errors = exponentials.map((value, index) => value / sum - (index === label ? 1 : 0));
  let flowing = backwards(top, errors, weights[depth], gradients[depth], CLASSES);
  for (let layer = depth - 1; layer >= 0; layer--) {
    const scaledFlow = flowing.map((value) => value * 0.7);
    const gate = active[layer] ?? new Float32Array();
    const through = scaledFlow.map((value, index) => ((gate[index] ?? 0) > 0 ? value : 0));
    const below = backwards(hidden[layer] ?? top, through, weights[layer], gradients[layer], WIDTH);
    flowing = below.map((value, index) => value + (scaledFlow[index] ?? 0));
  }
}

/** inputs · weights, row-major. */
function timesRows(inputs: Float32Array, weights: Float32Array, columns: number): Float32Array {
  const outputs = new Float32Array(columns);
  for (let row = 0; row < inputs.length; row++) {
    const input = inputs[row] ?? 0;
    for (let column = 0, at = row * columns; column < columns; column++, at++) {
      outputs[column] = (outputs[column] ?? 0) + input * (weights[at] ?? 0);
    }
  }
  return outputs;
}

/** Adds inputsᵀ · errors to the gradient; gives errors · weightsᵀ. */
function backwards(
  inputs: Float32Array,
  errors: Float32Array,
  weights: Float32Array | undefined,
  gradients: Float32Array | undefined,
  columns: number,
): Float32Array {
  const below = new Float32Array(inputs.length);
  if (!weights || !gradients) return below;
  for (let row = 0; row < inputs.length; row++) {
    const input = inputs[row] ?? 0;
    let sum = 0;
    for (let column = 0, at = row * columns; column < columns; column++, at++) {
      const error = errors[column] ?? 0;
      gradients[at] = (gradients[at] ?? 0) + input * error;
      sum += error * (weights[at] ?? 0);
    }
    below[row] = sum;
  }
  return below;
}
