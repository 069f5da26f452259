import type { Manifest, Tolerance } from '@drover/shared/manifest';
import { isWithin, type ModelTensor } from '@drover/shared/tensors';
import { fromFloat16, type TensorMap } from '../tensors/tensor.js';

/** What the release allows on an execution provider. */
export function toleranceOn(
  { contract: { parity, providerParity = {} } }: Pick<Manifest, 'contract'>,
  provider: string,
): Tolerance {
  return (providerParity as Partial<Record<string, Tolerance>>)[provider] ?? parity;
}

export interface ElementsCompared {
  /** |actual − expected|, of the outputs that have the same form. */
  readonly largestDifference: number;
  /** The worst of what is beyond the tolerance, in words. */
  readonly problem?: string;
}

/** |actual − expected| ≤ absolute + relative·|expected|, element by element; NaN never passes, and strings have to be equal. */
export function compareElements(expected: TensorMap, actual: TensorMap, tolerance: Tolerance): ElementsCompared {
  let largestDifference = 0;
  let worstExcess = -Infinity;
  let problem: string | undefined;
  for (const [name, wanted] of Object.entries(expected)) {
    const got = actual[name];
    const otherForm = got ? formProblem(wanted, got) : 'the model has no such output';
    if (!got || otherForm !== undefined) {
      worstExcess = Infinity;
      problem = `output "${name}": ${otherForm ?? ''}`;
      continue;
    }
    for (let index = 0; index < wanted.data.length; index++) {
      const a = numberAt(got, index, wanted);
      const e = numberAt(wanted, index, wanted);
      const difference = a === e ? 0 : Math.abs(a - e);
      if (difference > largestDifference) largestDifference = difference;
      if (isWithin(a, e, tolerance)) continue;
      const { absolute, relative } = tolerance;
      const excess = Number.isNaN(difference) ? Infinity : difference - (absolute + relative * Math.abs(e));
      if (problem !== undefined && excess <= worstExcess) continue;
      worstExcess = excess;
      problem = `output "${name}", element ${index}: ${a} instead of ${e} (difference ${difference}, allowed ${absolute} + ${relative}·|expected|)`;
    }
  }
  return { largestDifference, ...(problem === undefined ? {} : { problem }) };
}

function formProblem(wanted: ModelTensor, got: ModelTensor): string | undefined {
  if (got.datatype !== wanted.datatype) return `${got.datatype} instead of ${wanted.datatype}`;
  if (got.shape.join() === wanted.shape.join()) return undefined;
  return `shape [${got.shape.join(', ')}] instead of [${wanted.shape.join(', ')}]`;
}

/** A string is 0 where it is the one that was wanted, else nothing that could pass. */
function numberAt({ datatype, data }: ModelTensor, index: number, wanted: ModelTensor): number {
  if (datatype === 'BYTES') return data[index] === wanted.data[index] ? 0 : NaN;
  const value = Number(data[index]);
  return datatype === 'FP16' ? fromFloat16(value) : value;
}
