import { notAModel } from './errors.js';
import type { GraphProto, ModelProto, NodeProto, TensorProto } from './generated/onnx_pb.js';

/** Real models nest a handful of graphs (If in Loop in Scan). */
const MAX_NESTED_GRAPHS = 32;

/** The main graph and, depth first, the bodies of its If, Loop and Scan nodes. */
export function* graphsOf(model: ModelProto): Generator<GraphProto> {
  if (model.graph !== undefined) yield* nested(model.graph, 1);
}

function* nested(graph: GraphProto, depth: number): Generator<GraphProto> {
  if (depth > MAX_NESTED_GRAPHS) throw notAModel(`its graphs are nested deeper than ${MAX_NESTED_GRAPHS}`);
  yield graph;
  for (const { attribute } of graph.node) {
    for (const { g, graphs } of attribute) {
      if (g !== undefined) yield* nested(g, depth + 1);
      for (const inner of graphs) yield* nested(inner, depth + 1);
    }
  }
}

export function* nodesOf(model: ModelProto): Generator<NodeProto> {
  for (const graph of graphsOf(model)) yield* graph.node;
}

/** Every tensor with data: initializers and tensor attributes (constants). */
export function* tensorsOf(model: ModelProto): Generator<TensorProto> {
  for (const graph of graphsOf(model)) {
    yield* graph.initializer;
    for (const { attribute } of graph.node) {
      for (const { t, tensors } of attribute) {
        if (t !== undefined) yield t;
        yield* tensors;
      }
    }
  }
}
