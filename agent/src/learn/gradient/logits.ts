import { graphOf, type ModelProto } from '@drover/shared/onnx';
import { LearnError } from '../errors.js';

const SOFTMAXES = new Set(['Softmax', 'LogSoftmax']);

/**
 * The value that holds one unnormalised score per class: the output called `logits`, else the input of the softmax that makes an output, else
 * the only output there is.
 *
 * @param named overrides the search
 * @throws LearnError LEARN_NO_LOGITS
 */
export function findLogits(model: ModelProto, named?: string): string {
  const graph = graphOf(model);
  const outputs = new Set(graph.output.map(({ name }) => name));
  if (named !== undefined) {
    if (outputs.has(named) || graph.node.some(({ output }) => output.includes(named))) return named;
    throw noLogits(`it computes no value "${named}"`);
  }
  if (outputs.has('logits')) return 'logits';
  const softmax = graph.node.find(({ opType, output }) => SOFTMAXES.has(opType) && outputs.has(output[0] ?? ''));
  const [before] = softmax?.input ?? [];
  if (before !== undefined) return before;
  const [only] = outputs;
  if (only !== undefined && outputs.size === 1) return only;
  throw noLogits('no output is called "logits" or made by a softmax, and there are several');
}

export interface ScoreOutput {
  readonly name: string;
  readonly kind: 'logits' | 'probabilities' | 'log-probabilities';
}

/** The output to judge predictions by. @throws LearnError LEARN_NO_LOGITS */
export function findScoreOutput(model: ModelProto, named?: string): ScoreOutput {
  const graph = graphOf(model);
  const logits = findLogits(model, named);
  if (graph.output.some(({ name }) => name === logits)) {
    const producer = graph.node.find(({ output }) => output.includes(logits));
    if (producer?.opType === 'Softmax') return { name: logits, kind: 'probabilities' };
    return { name: logits, kind: 'logits' };
  }
  const softmax = graph.node.find(({ opType, input }) => SOFTMAXES.has(opType) && input[0] === logits);
  const name = softmax?.output[0];
  if (softmax && name !== undefined && graph.output.some((output) => output.name === name)) {
    return { name, kind: softmax.opType === 'Softmax' ? 'probabilities' : 'log-probabilities' };
  }
  throw noLogits(`neither "${logits}" nor its softmax is an output`);
}

const noLogits = (why: string) =>
  new LearnError('LEARN_NO_LOGITS', `Cannot tell which value of the model holds the class scores: ${why}.`, {
    remedy: 'Name the output with the class scores in the manifest (scores), or call it "logits" when exporting.',
  });
