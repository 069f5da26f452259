import {
  graph,
  model as onnxModel,
  node,
  valueInfo,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
} from '@drover/shared/onnx';
import { applyRule, readForward, type ForwardGraph } from './forward.js';
import { findLogits } from './logits.js';
import { softmaxCrossEntropy } from './loss.js';
import { createOptimizer, type OptimizerSettings } from './optimizers.js';
import { notTrainable, trainableInitializers } from './trainable.js';
import { GraphWriter } from './writer.js';

/** A tensor that goes in, is changed by every step, and comes out: a weight, or optimizer state beside one. */
export interface CarriedTensor {
  /** Name of the weight in the model. */
  readonly weight: string;
  /** Absent for the weight itself, else the optimizer's slot. */
  readonly slot: string | undefined;
  readonly dims: readonly number[];
  readonly inputName: string;
  readonly outputName: string;
}

/** A training step compiled to ONNX: one run of it takes K steps, K being the first axis of `indices`. */
export interface TrainingStep {
  readonly model: ModelProto;
  readonly carried: readonly CarriedTensor[];
  readonly inputs: {
    /** float32 [rows, …example]: the whole training set. */
    readonly examples: string;
    /** int64 [rows] */
    readonly labels: string;
    /** int64 [K, B]: the rows of each minibatch. */
    readonly indices: string;
    /** float32 [K, B]: 0 for indices that only fill up a batch, else 1. */
    readonly weights: string;
    /** int64 scalar: steps already taken. */
    readonly step: string;
  };
  /** float32 [K]: the loss of each step, before its update. */
  readonly losses: string;
  readonly exampleShape: readonly number[];
  readonly classes: number;
}

export interface TrainingStepOptions extends OptimizerSettings {
  readonly model: ModelProto;
  /** Initializers to train; those of all layers when absent or empty. */
  readonly trainable?: readonly string[];
  /** Value that holds the class scores; found when absent. */
  readonly logits?: string;
}

/**
 * Compiles the training step of a classifier from its own inference graph: forward, softmax cross-entropy, backward (reverse-mode automatic
 * differentiation; Griewank & Walther, "Evaluating Derivatives", ch. 3) and optimizer, in a `Loop` over minibatches, from standard operators.
 *
 * @throws LearnError LEARN_UNSUPPORTED_OPERATOR, LEARN_NO_LOGITS, LEARN_NOT_TRAINABLE
 */
export function compileTrainingStep(options: TrainingStepOptions): TrainingStep {
  const forward = readForward(options.model, findLogits(options.model, options.logits));
  const trainable = trainableInitializers(forward, options.trainable);
  const writer = new GraphWriter({ prefix: unusedPrefix(forward), opset: forward.opset });
  const optimizer = createOptimizer(options);
  const inputs = {
    examples: writer.named('examples'),
    labels: writer.named('labels'),
    indices: writer.named('indices'),
    weights: writer.named('weights'),
    step: writer.named('step'),
  };
  const carried = trainable.flatMap((weight) =>
    [undefined, ...optimizer.slots].map((slot): CarriedTensor => {
      const name = slot === undefined ? weight : `${weight}/${slot}`;
      const dims = forward.shapeOf(weight);
      return { weight, slot, dims, inputName: writer.named(`in/${name}`), outputName: writer.named(`out/${name}`) };
    }),
  );

  // The body. Inside, a trained weight has its own name, so that the model's nodes fit as they are.
  const inBody = ({ weight, slot }: CarriedTensor) => (slot === undefined ? weight : writer.named(`${slot}/${weight}`));
  const iteration = writer.named('iteration');
  const keepGoing = writer.named('keep_going');
  const rows = writer.emit('Gather', [inputs.indices, iteration], { axis: { int: 0 } });
  writer.emit('Gather', [inputs.examples, rows], { axis: { int: 0 } }, forward.inputName);
  const labels = writer.emit('Gather', [inputs.labels, rows], { axis: { int: 0 } });
  const weights = writer.emit('Gather', [inputs.weights, iteration], { axis: { int: 0 } });
  const done = writer.emit('Add', [writer.emit('Add', [inputs.step, iteration]), writer.integer(1)]);
  const stepNumber = writer.emit('Cast', [done], { to: { int: 11 } });
  writer.nodes.push(...forward.nodes);
  const { loss, gradient } = softmaxCrossEntropy(writer, {
    logits: forward.logits,
    classes: forward.classes,
    labels,
    weights,
  });
  const gradients = backpropagate(writer, forward, new Set(trainable), gradient);
  const next = trainable.flatMap((weight) => {
    const state = carried.filter((tensor) => tensor.weight === weight && tensor.slot !== undefined).map(inBody);
    const slope = gradients.get(weight);
    if (slope === undefined) throw notTrainable(`the loss does not change with "${weight}"`, weight);
    const updated = optimizer.update(writer, { weight, gradient: slope, state, stepNumber });
    return [updated.weight, ...updated.state];
  });
  const bodyOutputs = next.map((name, index) =>
    writer.emit('Identity', [name], {}, writer.named(`next/${carried[index]?.inputName ?? ''}`)),
  );
  const goOn = writer.emit('Identity', [keepGoing]);
  const body = graph({
    name: 'training_step',
    nodes: writer.nodes,
    inputs: [
      valueInfo(iteration, 'INT64', []),
      valueInfo(keepGoing, 'BOOL', []),
      ...carried.map((tensor) => valueInfo(inBody(tensor), 'FP32', tensor.dims)),
    ],
    outputs: [
      valueInfo(goOn, 'BOOL', []),
      ...carried.map(({ dims }, index) => valueInfo(bodyOutputs[index] ?? '', 'FP32', dims)),
      valueInfo(loss, 'FP32', []),
    ],
  });
  const losses = writer.named('losses');
  const outer = loopOver({ writer, forward, inputs, carried, body, losses, trainable });
  return {
    model: onnxModel({ opset: forward.opset, graph: outer }),
    carried,
    inputs,
    losses,
    exampleShape: forward.exampleShape,
    classes: forward.classes,
  };
}

interface LoopParts {
  readonly writer: GraphWriter;
  readonly forward: ForwardGraph;
  readonly inputs: TrainingStep['inputs'];
  readonly carried: readonly CarriedTensor[];
  readonly body: GraphProto;
  readonly losses: string;
  readonly trainable: readonly string[];
}

function loopOver({ writer, forward, inputs, carried, body, losses, trainable }: LoopParts): GraphProto {
  const [shape, count] = [writer.named('indices_shape'), writer.named('step_count')];
  const zero = writer.integer(0);
  const nodes: NodeProto[] = [
    node('Shape', [inputs.indices], [shape]),
    node('Gather', [shape, zero], [count], { axis: { int: 0 } }),
    node(
      'Loop',
      [count, '', ...carried.map(({ inputName }) => inputName)],
      [...carried.map(({ outputName }) => outputName), losses],
      {
        body: { graph: body },
      },
    ),
  ];
  const fixed: TensorProto[] = [...forward.initializers.values()].filter(({ name }) => !trainable.includes(name));
  return graph({
    name: 'training',
    nodes,
    initializers: [...fixed, ...writer.constants],
    inputs: [
      valueInfo(inputs.examples, 'FP32', ['rows', ...forward.exampleShape]),
      valueInfo(inputs.labels, 'INT64', ['rows']),
      valueInfo(inputs.indices, 'INT64', ['K', 'B']),
      valueInfo(inputs.weights, 'FP32', ['K', 'B']),
      valueInfo(inputs.step, 'INT64', []),
      ...carried.map(({ inputName, dims }) => valueInfo(inputName, 'FP32', dims)),
    ],
    outputs: [
      ...carried.map(({ outputName, dims }) => valueInfo(outputName, 'FP32', dims)),
      valueInfo(losses, 'FP32', ['K']),
    ],
  });
}

/** Names of the gradients by each trainable weight, given that by the logits. */
function backpropagate(
  writer: GraphWriter,
  forward: ForwardGraph,
  trainable: ReadonlySet<string>,
  logitsGradient: string,
): ReadonlyMap<string, string> {
  const depends = new Set(trainable);
  for (const { input, output } of forward.nodes) {
    if (input.some((name) => depends.has(name))) for (const name of output) depends.add(name);
  }
  const gradients = new Map([[forward.logits, logitsGradient]]);
  const give = (name: string, make: () => string) => {
    if (!depends.has(name)) return;
    const part = make();
    const sum = gradients.get(name);
    gradients.set(name, sum === undefined ? part : writer.emit('Add', [sum, part]));
  };
  for (const current of forward.nodes.toReversed()) {
    const gradient = gradients.get(current.output[0] ?? '');
    if (gradient === undefined) continue;
    applyRule(current, (rule) => {
      rule.backward(current, { writer, forward, gradient, give });
    });
  }
  return gradients;
}

function unusedPrefix({ nodes, initializers, inputName }: ForwardGraph): string {
  const names = [inputName, ...initializers.keys(), ...nodes.flatMap(({ input, output }) => [...input, ...output])];
  let prefix = 'training/';
  while (names.some((name) => name.startsWith(prefix))) prefix = `_${prefix}`;
  return prefix;
}
