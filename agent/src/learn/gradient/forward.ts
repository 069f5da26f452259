import {
  defaultOpset,
  graphOf,
  tensorAttribute,
  tensorDims,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
} from '@drover/shared/onnx';
import { LearnError } from '../errors.js';
import { OPERATOR_RULES, type Forward, type OperatorRule } from './operators.js';
import type { Shape } from './writer.js';

/** The part of a model's graph that its logits depend on, with the shape of every value in it. */
export interface ForwardGraph extends Forward {
  /** In execution order; constants included. */
  readonly nodes: readonly NodeProto[];
  readonly initializers: ReadonlyMap<string, TensorProto>;
  /** The one input that is data. */
  readonly inputName: string;
  /** Of one example, without the batch axis. */
  readonly exampleShape: Shape;
  readonly logits: string;
  readonly classes: number;
}

const FP32 = 1;

/** @throws LearnError LEARN_UNSUPPORTED_OPERATOR, LEARN_NO_LOGITS */
export function readForward(model: ModelProto, logits: string): ForwardGraph {
  const graph = graphOf(model);
  const nodes = ancestors(graph, logits);
  const used = new Set([logits, ...nodes.flatMap(({ input }) => input)]);
  const initializers = new Map(
    graph.initializer.filter(({ name }) => used.has(name)).map((tensor) => [tensor.name, tensor]),
  );
  const input = featureInput(graph, used, initializers);

  const constants = new Map(initializers);
  const shapes = new Map<string, Shape>([[input.name, [-1, ...input.exampleShape]]]);
  for (const [name, tensor] of initializers) shapes.set(name, tensorDims(tensor));
  const forward: Forward = {
    opset: defaultOpset(model),
    constantOf: (value) => constants.get(value),
    shapeOf: (value) => {
      const shape = shapes.get(value);
      if (shape) return shape;
      throw new Error(`nothing computes "${value}"`);
    },
  };
  for (const node of nodes) {
    const [output = ''] = node.output;
    const constant = node.opType === 'Constant' ? tensorAttribute(node, 'value') : undefined;
    if (constant) {
      constants.set(output, constant);
      shapes.set(output, tensorDims(constant));
    } else {
      shapes.set(
        output,
        applyRule(node, (rule) => rule.shape(node, forward)),
      );
    }
  }
  const [batch, classes, ...rest] = forward.shapeOf(logits);
  if (batch !== -1 || classes === undefined || rest.length > 0) {
    throw new LearnError(
      'LEARN_NO_LOGITS',
      `"${logits}" has the shape [${forward.shapeOf(logits).join(', ')}], not [N, classes].`,
      {
        remedy: 'Name the value that holds one score per class and example.',
        where: logits,
      },
    );
  }
  return { ...forward, nodes, initializers, inputName: input.name, exampleShape: input.exampleShape, logits, classes };
}

/** Runs `use` on the node's rule and turns any refusal into one coded error that names the node. */
export function applyRule<Result>(node: NodeProto, use: (rule: OperatorRule) => Result): Result {
  const refuse = (why: string, cause?: unknown) =>
    new LearnError(
      'LEARN_UNSUPPORTED_OPERATOR',
      `Training cannot go through the node "${node.name}" (${node.opType}): ${why}.`,
      {
        remedy: `Only models made of ${[...OPERATOR_RULES.keys()].join(', ')} can be trained on a device; retrain others where they were made.`,
        where: node.name,
        cause,
      },
    );
  const rule = node.domain === '' || node.domain === 'ai.onnx' ? OPERATOR_RULES.get(node.opType) : undefined;
  if (!rule) throw refuse('its gradient is not implemented');
  try {
    return use(rule);
  } catch (cause) {
    throw refuse(cause instanceof Error ? cause.message : String(cause), cause);
  }
}

function ancestors(graph: GraphProto, logits: string): NodeProto[] {
  const wanted = new Set([logits]);
  // The graph is in topological order, so that one pass from its end meets every consumer before its producer.
  const found = graph.node.toReversed().filter((node) => {
    if (!node.output.some((name) => wanted.has(name))) return false;
    for (const name of node.input) wanted.add(name);
    return true;
  });
  return found.reverse();
}

function featureInput(graph: GraphProto, used: ReadonlySet<string>, initializers: ReadonlyMap<string, TensorProto>) {
  const inputs = graph.input.filter(({ name }) => used.has(name) && !initializers.has(name));
  const [input] = inputs;
  const type = input?.type?.value;
  if (!input || inputs.length > 1 || type?.case !== 'tensorType' || type.value.elemType !== FP32) {
    throw new LearnError('LEARN_UNSUPPORTED_OPERATOR', 'The logits must depend on exactly one float32 input.', {
      remedy: 'Export the model with one float32 tensor of features.',
      where: inputs.map(({ name }) => name).join(', '),
    });
  }
  const exampleShape = (type.value.shape?.dim ?? [])
    .slice(1)
    .map(({ value }) => Number(value.case === 'dimValue' ? value.value : 0n));
  if (exampleShape.length === 0 || exampleShape.some((size) => size < 1)) {
    throw new LearnError(
      'LEARN_UNSUPPORTED_OPERATOR',
      `The input "${input.name}" must have a batch axis and fixed other axes.`,
      {
        remedy: 'Export the model with only the batch size variable.',
        where: input.name,
      },
    );
  }
  return { name: input.name, exampleShape };
}
