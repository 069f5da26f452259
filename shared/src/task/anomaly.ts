import type { TensorMap, TensorSignature } from '../tensors/index.js';
import type { Agreement, AgreementOptions } from './agreement.js';
import { Differences } from './differences.js';
import { demandOutput, readOutput } from './outputs.js';
import type { Anomaly } from './schema.js';

/** Of each row. */
export interface DecodedAnomalies {
  readonly kind: 'anomaly';
  readonly scores: Float64Array;
  /** 1 where the row is an anomaly. A score that is no number is none. */
  readonly anomalous: Uint8Array;
}

/** @throws TaskError TASK_UNFIT */
export function anomalyDecoder({ score, threshold, anomalous: side }: Anomaly, signature: readonly TensorSignature[]) {
  demandOutput(signature, score);
  return (outputs: TensorMap): DecodedAnomalies => {
    const scores = new Float64Array(readOutput(outputs, score).data);
    const isAnomalous = (each: number) => (side === 'above' ? each > threshold : each < threshold);
    return { kind: 'anomaly', scores, anomalous: Uint8Array.from(scores, (each) => Number(isAnomalous(each))) };
  };
}

/** Share of the rows on the same side of the threshold. */
export function anomalyAgreement(
  expected: DecodedAnomalies,
  actual: DecodedAnomalies,
  { tolerance }: AgreementOptions,
): Agreement {
  const differences = new Differences(tolerance);
  const compared = Math.max(expected.scores.length, actual.scores.length);
  const common = Math.min(expected.scores.length, actual.scores.length);
  let same = 0;
  for (let row = 0; row < common; row++) {
    const [wanted = NaN, got = NaN] = [expected.scores[row], actual.scores[row]];
    differences.add(got, wanted);
    const isNumber = !Number.isNaN(wanted) && !Number.isNaN(got);
    if (isNumber && expected.anomalous[row] === actual.anomalous[row]) same += 1;
  }
  differences.addMissing(compared - common);
  return {
    measure: 'same-side',
    value: compared === 0 ? 1 : same / compared,
    compared,
    beyondTolerance: differences.beyond,
    largestDifference: differences.largest,
    details: {},
  };
}
