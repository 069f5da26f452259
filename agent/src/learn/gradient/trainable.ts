import type { NodeProto } from '@drover/shared/onnx';
import { LearnError } from '../errors.js';
import type { ForwardGraph } from './forward.js';

const FP32 = 1;

/**
 * The initializers that training changes, in the order of the model. Without `names`: every weight and bias of a Gemm, every initializer of a
 * MatMul, and what is added to the result of one; the constants of standardisation are none of these.
 *
 * @throws LearnError LEARN_NOT_TRAINABLE
 */
export function trainableInitializers(forward: ForwardGraph, names: readonly string[] = []): string[] {
  const floats = new Set(
    [...forward.initializers.values()].filter(({ dataType }) => dataType === FP32).map(({ name }) => name),
  );
  for (const name of names) {
    if (floats.has(name)) continue;
    throw notTrainable(`"${name}" is no float32 initializer that the logits depend on`, name);
  }
  const chosen = new Set(names.length > 0 ? names : layerWeights(forward.nodes));
  const trainable = [...forward.initializers.keys()].filter((name) => chosen.has(name) && floats.has(name));
  if (trainable.length === 0) throw notTrainable('it has no layer with float32 initializers');
  return trainable;
}

function layerWeights(nodes: readonly NodeProto[]): string[] {
  const products = new Set(nodes.filter(({ opType }) => opType === 'MatMul').flatMap(({ output }) => output));
  return nodes.flatMap(({ opType, input }) => {
    if (opType === 'Gemm' || opType === 'MatMul') return input;
    return opType === 'Add' && input.some((name) => products.has(name)) ? input : [];
  });
}

export const notTrainable = (why: string, where?: string) =>
  new LearnError('LEARN_NOT_TRAINABLE', `The model cannot be trained: ${why}.`, {
    remedy: 'Name initializers that `drover model show` lists as float32, or leave `trainable` empty.',
    where,
  });
