import { fromFloat16, toFloat16, type Datatype } from '../tensors/index.js';
import { boundsOf, isBounded, type Bounds } from './bounds.js';
import { nextDown, nextUp } from './neighbours.js';
import type { SignedInput } from './problems.js';
import { DEFAULT_WINDOW_ROWS, type InputContract, type InputRule } from './schema.js';
import { sayColumn, sayRule } from './words.js';

/** A rule made ready for its input: everything that its contract says once is decided here. */
export interface CompiledRule {
  /** Its place among all rules of the contract, in their order. */
  readonly index: number;
  readonly input: string;
  /** Empty for every value of the input. */
  readonly feature: string;
  readonly says: string;
  /** −1 for every value of the input. */
  readonly column: number;
  readonly test: Test;
  /** Holds for whatever lies within the bounds of its input. */
  readonly isBounded: boolean;
  readonly mostly: number;
}

/** What is compared. Strict bounds are inclusive ones, of the next number. */
export type Test =
  | { readonly kind: 'range'; readonly low: number; readonly high: number }
  /** Ascending. */
  | { readonly kind: 'numbers'; readonly values: Float64Array }
  | { readonly kind: 'strings'; readonly values: ReadonlySet<string> }
  | { readonly kind: 'whole' }
  | { readonly kind: 'present' };

export interface CompiledInput {
  readonly name: string;
  /** Its first axis counts rows. */
  readonly hasRows: boolean;
  readonly rules: readonly CompiledRule[];
  /** Undefined where they say nothing: for strings, for sets alone, for columns of rows whose width is not known. */
  readonly bounds: Bounds | undefined;
  /** Those that need a look even where every value lies within the bounds. */
  readonly unbounded: readonly CompiledRule[];
}

export interface CompiledContract {
  readonly isRejecting: boolean;
  readonly windowRows: number;
  readonly inputs: readonly CompiledInput[];
  readonly rules: readonly CompiledRule[];
}

/** @param signature of the variant that is served; the contract was found sound for it when its manifest was read */
export function compileContract(contract: InputContract, signature: readonly SignedInput[]): CompiledContract {
  let index = 0;
  const inputs = contract.inputs.map((input): CompiledInput => {
    const signed = signature.find(({ name }) => name === input.name);
    const { datatype, shape } = signed ?? { datatype: 'FP32' as const, shape: [] };
    const rules = input.rules.map((rule): CompiledRule => {
      const { column = -1, mostly = 1 } = rule;
      const test = testOf(rule, datatype);
      return {
        index: index++,
        input: input.name,
        feature: sayColumn(input, rule),
        says: sayRule(rule),
        column: typeof column === 'string' ? (input.features ?? []).indexOf(column) : column,
        test,
        isBounded: isBounded(test),
        mostly,
      };
    });
    const width = shape.length === 2 && shape[1] !== -1 ? shape[1] : undefined;
    return {
      name: input.name,
      hasRows: shape.length >= 2 || shape[0] === -1,
      rules,
      bounds: datatype === 'BYTES' ? undefined : boundsOf(rules, width),
      unbounded: rules.filter((rule) => rule.mostly < 1 || !rule.isBounded),
    };
  });
  return {
    isRejecting: contract.action === 'reject',
    windowRows: contract.windowRows ?? DEFAULT_WINDOW_ROWS,
    inputs,
    rules: inputs.flatMap(({ rules }) => rules),
  };
}

function testOf(rule: InputRule, datatype: Datatype): Test {
  const rounded = rounding(datatype);
  switch (rule.rule) {
    case 'present':
      return { kind: 'present' };
    case 'set':
      return setOf(rule.values ?? [], rounded);
    case 'type':
      if (rule.type === 'integer') return { kind: 'whole' };
      if (rule.type === 'boolean') return setOf([0, 1], rounded);
      return { kind: 'range', low: -Number.MAX_VALUE, high: Number.MAX_VALUE };
    case 'range': {
      const low = rule.min === undefined ? -Infinity : rounded(rule.min);
      const high = rule.max === undefined ? Infinity : rounded(rule.max);
      return {
        kind: 'range',
        low: rule.strictMin === true ? nextUp(low) : low,
        high: rule.strictMax === true ? nextDown(high) : high,
      };
    }
  }
}

function setOf(values: readonly (number | string)[], rounded: (value: number) => number): Test {
  const numbers = values.filter((value) => typeof value === 'number').map(rounded);
  if (numbers.length === values.length) return { kind: 'numbers', values: Float64Array.from(numbers).sort() };
  return { kind: 'strings', values: new Set(values.map(String)) };
}

/** 0.3 as float32 is above 0.3: whoever allows at most 0.3 of an FP32 input means the number that the input can hold. */
function rounding(datatype: Datatype): (value: number) => number {
  if (datatype === 'FP32') return Math.fround;
  if (datatype === 'FP16') return (value) => fromFloat16(toFloat16(value));
  return (value) => value;
}
