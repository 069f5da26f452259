import type { InputContract, InputRule } from '@drover/shared/input-contract';
import { CliError } from '../errors.js';
import type { Samples } from '../release-builder/samples.js';

/** Of the range that was seen, on either side: samples seldom hold the rarest of what is normal. */
const MARGIN = 0.1;
const SIGNIFICANT_DIGITS = 6;
/** A column of few whole numbers, each seen often, holds categories. */
const MAX_CATEGORIES = 12;
const ROWS_PER_CATEGORY = 20;

/**
 * A contract that the samples keep, for a person to look over: ranges with a margin, sets where a column holds few whole numbers, and values that have to be
 * there where none was missing. It only records.
 *
 * @throws CliError CLI_SAMPLES_UNFIT where no column has a value
 */
export function deriveContract(input: string, samples: Samples): InputContract {
  const columns = Array.from({ length: samples.width }, (_, column) => valuesOf(samples, column));
  const isComplete = columns.map((values) => values.every((value) => !Number.isNaN(value)));
  const areAllThere = isComplete.every(Boolean);
  if (!columns.some((values) => values.some(Number.isFinite)))
    throw new CliError('CLI_SAMPLES_UNFIT', 'The samples have no value that a contract could be made of.', {
      remedy: 'Give samples of normal operation, with numbers in them.',
    });
  const rules = columns.flatMap((values, column): InputRule[] => {
    const name = samples.names[column] ?? column;
    return [
      ...(isComplete[column] === true && !areAllThere ? [{ rule: 'present' as const, column: name }] : []),
      ...rulesFor(values.filter(Number.isFinite)).map((rule) => ({ ...rule, column: name })),
    ];
  });
  return {
    action: 'record',
    inputs: [
      {
        name: input,
        features: [...samples.names],
        rules: [...(areAllThere ? [{ rule: 'present' as const }] : []), ...rules],
      },
    ],
  };
}

const valuesOf = ({ values, width, count }: Samples, column: number): number[] =>
  Array.from({ length: count }, (_, row) => values[row * width + column] ?? NaN);

function rulesFor(values: readonly number[]): Pick<InputRule, 'rule' | 'min' | 'max' | 'values'>[] {
  if (values.length === 0) return [];
  const distinct = [...new Set(values)].sort((left, right) => left - right);
  const isWhole = distinct.every(Number.isInteger);
  if (isWhole && distinct.length <= MAX_CATEGORIES && values.length >= distinct.length * ROWS_PER_CATEGORY)
    return [{ rule: 'set', values: distinct }];
  const [least = 0, most = 0] = [distinct[0], distinct.at(-1)];
  const margin = (most - least || Math.abs(most) || 1) * MARGIN;
  // What is shortened must not cut off what was seen.
  const [min, max] = [Math.min(least, shorten(least - margin)), Math.max(most, shorten(most + margin))];
  return [{ rule: 'range', min, max }];
}

const shorten = (value: number): number => Number(value.toPrecision(SIGNIFICANT_DIGITS));
