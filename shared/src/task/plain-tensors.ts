import { elementsOf, isNumeric, numbersOf, type ModelTensor, type TensorMap } from '../tensors/index.js';
import type { Agreement, AgreementOptions } from './agreement.js';
import { Differences } from './differences.js';

export interface PlainTensors {
  readonly kind: 'tensors';
  readonly tensors: TensorMap;
}

/** Share of the elements of all outputs within the tolerance; strings have to be equal. Where a shape differs, no element of that output agrees. */
export function elementAgreement(
  { tensors: expected }: PlainTensors,
  { tensors: actual }: PlainTensors,
  { tolerance }: AgreementOptions,
): Agreement {
  const differences = new Differences(tolerance);
  let compared = 0;
  for (const name of new Set([...Object.keys(expected), ...Object.keys(actual)])) {
    const [wanted, got] = [expected[name], actual[name]];
    const elements = Math.max(sizeOf(wanted), sizeOf(got));
    compared += elements;
    if (wanted && got && haveSameForm(wanted, got)) addElements(differences, wanted, got);
    else differences.addMissing(elements);
  }
  return {
    measure: 'equal-elements',
    value: compared === 0 ? 1 : 1 - differences.beyond / compared,
    compared,
    beyondTolerance: differences.beyond,
    largestDifference: differences.largest,
    details: {},
  };
}

const sizeOf = (tensor: ModelTensor | undefined): number => (tensor ? elementsOf(tensor.shape) : 0);

const haveSameForm = (left: ModelTensor, right: ModelTensor): boolean =>
  left.shape.join() === right.shape.join() && isNumeric(left) === isNumeric(right);

function addElements(differences: Differences, expected: ModelTensor, actual: ModelTensor): void {
  if (!isNumeric(expected) || !isNumeric(actual)) {
    const different = expected.data.filter((text, index) => text !== actual.data[index]).length;
    differences.addMissing(different);
    return;
  }
  const [wanted, got] = [numbersOf(expected), numbersOf(actual)];
  for (let index = 0; index < wanted.length; index++) differences.add(got[index] ?? NaN, wanted[index] ?? NaN);
}
