import type { GraphWriter } from './writer.js';

export interface LossInputs {
  /** [B, classes] */
  readonly logits: string;
  readonly classes: number;
  /** int64 [B] */
  readonly labels: string;
  /** float32 [B]: 1, or 0 for a row that only fills up the last batch. */
  readonly weights: string;
}

/**
 * Weighted mean of softmax cross-entropy, and its gradient by the logits, (softmax − one-hot) · weight / Σ weights (Bishop, "Pattern Recognition and
 * Machine Learning", eq. 4.109). LogSoftmax subtracts the row maximum first, so that large logits do not overflow.
 */
export function softmaxCrossEntropy(writer: GraphWriter, inputs: LossInputs): { loss: string; gradient: string } {
  const { classes, labels, logits, weights } = inputs;
  const share = writer.emit('Div', [weights, writer.reduceSum(weights, [0], true)]);
  const shareColumn = writer.reshape(share, [-1, 1]);
  const classNumbers = writer.integers(Array.from({ length: classes }, (_, index) => index));
  const isLabel = writer.emit('Equal', [writer.reshape(labels, [-1, 1]), classNumbers]);
  const oneHot = writer.emit('Cast', [isLabel], { to: { int: 1 } });
  const logProbabilities = writer.emit('LogSoftmax', [logits], { axis: { int: 1 } });
  const picked = writer.emit('Mul', [writer.emit('Mul', [logProbabilities, oneHot]), shareColumn]);
  const loss = writer.emit('Neg', [writer.reduceSum(picked, [0, 1], false)]);
  const difference = writer.emit('Sub', [writer.emit('Exp', [logProbabilities]), oneHot]);
  return { loss, gradient: writer.emit('Mul', [difference, shareColumn]) };
}
