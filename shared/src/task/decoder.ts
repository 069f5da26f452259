import type { TensorMap, TensorSignature } from '../tensors/index.js';
import type { Agreement, AgreementOptions } from './agreement.js';
import { anomalyAgreement, anomalyDecoder, type DecodedAnomalies } from './anomaly.js';
import { classAgreement, classDecoder, type DecodedClasses } from './classification.js';
import { boxAgreement, boxDecoder, type DecodedBoxes } from './detection.js';
import { TaskError, taskUnfit } from './errors.js';
import { elementAgreement, type PlainTensors } from './plain-tensors.js';
import { valueAgreement, valueDecoder, type DecodedValues } from './regression.js';
import { pixelAgreement, pixelDecoder, type DecodedPixels } from './segmentation.js';
import type { Task } from './schema.js';

/** What an answer of a model says, in the words of its task. */
export type Decoded = DecodedClasses | DecodedValues | DecodedBoxes | DecodedPixels | DecodedAnomalies | PlainTensors;

/** Made once for a model. */
export interface Decoder {
  /** `tensors` too where the manifest does not say how the outputs of its task are read. */
  readonly kind: Decoded['kind'];
  /** Outputs of one run, batches included. Copies what it keeps, but for plain tensors. @throws TaskError TASK_OUTPUT_UNFIT */
  decode(outputs: TensorMap): Decoded;
}

/**
 * How the outputs of a model are read, as its manifest says. Scores and values may be FP16, FP32 or FP64, indices any integer.
 *
 * @throws TaskError TASK_UNFIT for a task that does not fit the outputs
 */
export function decoderFor(task: Task, outputs: readonly TensorSignature[]): Decoder {
  const { type, scores, detection, segmentation, regression, anomaly } = task;
  const foreign = Object.keys({ detection, segmentation, regression, anomaly }).find(
    (key) => key !== type && task[key as keyof Task] !== undefined,
  );
  if (foreign !== undefined) throw taskUnfit(`it is ${type}, and says how a ${foreign} is read`);
  if (type === 'classification' && task.labels?.length === 1) throw taskUnfit('one label makes no classification');
  if (type === 'classification' && scores !== undefined)
    return { kind: type, decode: classDecoder(scores, task, outputs) };
  if (detection) return { kind: 'detection', decode: boxDecoder(detection, task, outputs) };
  if (segmentation) return { kind: 'segmentation', decode: pixelDecoder(segmentation, outputs) };
  if (regression) return { kind: 'regression', decode: valueDecoder(regression, outputs) };
  if (anomaly) return { kind: 'anomaly', decode: anomalyDecoder(anomaly, outputs) };
  return { kind: 'tensors', decode: (tensors) => ({ kind: 'tensors', tensors }) };
}

/**
 * How far two answers of one decoder to the same inputs agree, by the measure of their task.
 *
 * @throws TaskError TASK_KINDS_DIFFER
 */
export function agreement(expected: Decoded, actual: Decoded, options: AgreementOptions): Agreement {
  if (expected.kind !== actual.kind) {
    throw new TaskError('TASK_KINDS_DIFFER', `A ${expected.kind} cannot be compared with a ${actual.kind}.`, {
      remedy: 'Compare releases whose manifests state the same task.',
    });
  }
  const compare = MEASURES[expected.kind] as (left: Decoded, right: Decoded, options: AgreementOptions) => Agreement;
  return compare(expected, actual, options);
}

type Measure<Kind extends Decoded['kind']> = (
  expected: Extract<Decoded, { readonly kind: Kind }>,
  actual: Extract<Decoded, { readonly kind: Kind }>,
  options: AgreementOptions,
) => Agreement;

const MEASURES: { readonly [Kind in Decoded['kind']]: Measure<Kind> } = {
  classification: classAgreement,
  regression: valueAgreement,
  detection: boxAgreement,
  segmentation: pixelAgreement,
  anomaly: anomalyAgreement,
  tensors: elementAgreement,
};
