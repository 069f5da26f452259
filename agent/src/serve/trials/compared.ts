import type { Digest, ModelName } from '@drover/shared/ids';
import type { ProviderReport } from '@drover/shared/protocol';
import { agreement, decoderFor, type Agreement, type Decoded } from '@drover/shared/task';
import { bucketOf } from '@drover/shared/statistics';
import type { Tolerance } from '@drover/shared/tensors';
import type { InstalledModel } from '../../update/ports.js';
import type { ModelSession } from '../session/model-session.js';
import type { TensorMap } from '../tensors/tensor.js';

/** Where the terms of a trial say nothing: below it nobody would act on a difference of a value or a score. */
export const DEFAULT_TOLERANCE: Tolerance = { absolute: 0.01, relative: 0.05 };

/** Of one answer, of which a distribution is made. */
const MAX_VALUES = 1_000;

/** What a candidate made of one request, and how far that agrees with what was answered. */
export interface Compared {
  /** Of the run alone. */
  readonly latencyUs: number;
  readonly agreement: Agreement;
  /** Of a classification: the class of each row, of the release that answered and of the candidate. */
  readonly classes?: { readonly active: Int32Array; readonly candidate: Int32Array };
  /** Of a regression or an anomaly score: the bucket of each value of both, if there are many, of some of them. */
  readonly values?: { readonly active: Int16Array; readonly candidate: Int16Array };
}

/** What another thread has answered, for a candidate to be compared on. */
export interface ForeignComparison {
  readonly model: ModelName;
  readonly candidate: Digest;
  readonly inputs: TensorMap;
  readonly answered: TensorMap;
}

/** A candidate that runs on what another release has answered. */
export interface ComparingSession {
  readonly provider: ProviderReport;
  /** Where the session is that of another thread: of that thread's meeting budget. */
  readonly meetings?: SharedArrayBuffer | undefined;
  /** Both tensors may be moved away. @throws ServeError MODEL_RUN_FAILED; TaskError TASK_OUTPUT_UNFIT */
  compare(inputs: TensorMap, answered: TensorMap): Promise<Compared>;
  close(): Promise<void>;
}

/**
 * Runs and compares where the session runs. Both answers are read as the candidate's manifest says: what is tried has the same outputs.
 *
 * @throws TaskError TASK_UNFIT
 */
export function comparing(
  session: Pick<ModelSession, 'run'>,
  { manifest, variant }: InstalledModel,
  tolerance: Tolerance,
): (inputs: TensorMap, answered: TensorMap) => Promise<Compared> {
  const decoder = decoderFor(manifest.task, variant.signature.outputs);
  return async (inputs, answered) => {
    const startedMs = performance.now();
    const outputs = await session.run(inputs);
    const latencyUs = Math.round((performance.now() - startedMs) * 1_000);
    const [expected, actual] = [decoder.decode(answered), decoder.decode(outputs)];
    const classes = classesOf(expected, actual);
    const [active, candidate] = [valueBuckets(expected), valueBuckets(actual)];
    return {
      latencyUs,
      agreement: agreement(expected, actual, { tolerance }),
      ...(classes && { classes }),
      ...(active && candidate && { values: { active, candidate } }),
    };
  };
}

/** At most `MAX_VALUES`, evenly over the answer. */
function valueBuckets(decoded: Decoded): Int16Array | undefined {
  if (decoded.kind !== 'regression' && decoded.kind !== 'anomaly') return undefined;
  const values = decoded.kind === 'regression' ? decoded.values : decoded.scores;
  const stride = Math.ceil(values.length / MAX_VALUES);
  const buckets: number[] = [];
  for (let index = 0; index < values.length; index += stride) {
    const bucket = bucketOf(values[index] ?? NaN);
    if (bucket !== undefined) buckets.push(bucket);
  }
  return Int16Array.from(buckets);
}

const classesOf = (expected: Decoded, actual: Decoded): Compared['classes'] =>
  expected.kind === 'classification' && actual.kind === 'classification'
    ? { active: expected.classes, candidate: actual.classes }
    : undefined;
