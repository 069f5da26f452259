import type { TensorDescription } from '@drover/shared/onnx';
import { mayCarry } from './states.js';

/** An output that looks as if it were meant to go back into an input with the next request. */
export interface LikelyState {
  readonly input: string;
  readonly output: string;
}

/** Words by which exporters tell the two ends of a state apart: h_in/h_out, h0/hn, past/present, prev/next. */
const ENDS = new Set(['in', 'out', 'input', 'output', 'past', 'present', 'prev', 'previous', 'next', 'new', 'old', 'init', 'initial', 'current', 'n', 'values']); // prettier-ignore

/**
 * Pairs of one type and of shapes that fit, whose names are the same but for such words; none where the names do not tell them apart from the data of a model, or where nothing else
 * would go in.
 */
export function likelyStates(
  inputs: readonly TensorDescription[],
  outputs: readonly TensorDescription[],
): LikelyState[] {
  const pairs = inputs.flatMap((input) => {
    const fitting = outputs.filter((output) => mayCarry(signatureOf(output), signatureOf(input)));
    for (const stem of [stemOf, stemWithoutNumbers]) {
      const alike = fitting.filter((output) => stem(output.name) !== '' && stem(output.name) === stem(input.name));
      if (alike.length === 1 && alike[0]) return [{ input: input.name, output: alike[0].name }];
    }
    return [];
  });
  const isOne = ({ output }: LikelyState) => pairs.filter((pair) => pair.output === output).length === 1;
  const states = pairs.filter(isOne);
  return states.length < inputs.length && states.length < outputs.length ? states : [];
}

const signatureOf = ({ dtype: datatype, shape }: TensorDescription) => ({ datatype, shape: [...shape] });

/** `past_key_values.0.key` and `present.0.key` become "0 key", `hn` and `h_out` become "h", `stateN` becomes "state". */
function stemOf(name: string): string {
  const words = name
    .replace(/(?<=[a-z])N$/, '_n')
    .toLowerCase()
    .replaceAll('past_key_values', 'past')
    .split(/[^a-z0-9]+|(?<=[a-z])(?=\d)/)
    .map((word) => (/^[a-z]n$/.test(word) && word !== 'in' ? word.slice(0, 1) : word));
  return [...new Set(words.filter((word) => word !== '' && !ENDS.has(word)))].sort().join(' ');
}

const stemWithoutNumbers = (name: string): string =>
  stemOf(name)
    .split(' ')
    .filter((word) => !/^\d+$/.test(word))
    .join(' ');
