import type { TensorMap, TensorSignature } from '../tensors/index.js';
import type { Agreement, AgreementOptions } from './agreement.js';
import { Differences } from './differences.js';
import { demandOutput, readOutput } from './outputs.js';
import type { Regression } from './schema.js';

export interface DecodedValues {
  readonly kind: 'regression';
  /** In the unit of the task, one output after the other, each row-major. */
  readonly values: Float64Array;
}

/** @throws TaskError TASK_UNFIT */
export function valueDecoder({ outputs: names, scale = 1 }: Regression, signature: readonly TensorSignature[]) {
  for (const name of names) demandOutput(signature, name);
  return (outputs: TensorMap): DecodedValues => {
    const parts = names.map((name) => readOutput(outputs, name).data);
    const values = new Float64Array(parts.reduce((sum, { length }) => sum + length, 0));
    let offset = 0;
    for (const part of parts) {
      for (const value of part) values[offset++] = value * scale;
    }
    return { kind: 'regression', values };
  };
}

/** Share of the values within the tolerance, which is in the unit of the task. */
export function valueAgreement(
  { values: expected }: DecodedValues,
  { values: actual }: DecodedValues,
  { tolerance }: AgreementOptions,
): Agreement {
  const differences = new Differences(tolerance);
  const compared = Math.max(expected.length, actual.length);
  const common = Math.min(expected.length, actual.length);
  for (let index = 0; index < common; index++) differences.add(actual[index] ?? NaN, expected[index] ?? NaN);
  differences.addMissing(compared - common);
  return {
    measure: 'within-tolerance',
    value: compared === 0 ? 1 : 1 - differences.beyond / compared,
    compared,
    beyondTolerance: differences.beyond,
    largestDifference: differences.largest,
    details: {},
  };
}
