import type { InputRule, SignedInput } from '@drover/shared/input-contract';
import type { Expectation } from './suite.js';

type Kwargs = Expectation['kwargs'];
/** A rule without its column; null for what always holds for such an input. */
export type Translated = Omit<InputRule, 'column'> | null;

/** Why an expectation cannot be held on a device, in words that follow its name. */
export class Untranslatable extends Error {}
const no = (why: string): Untranslatable => new Untranslatable(why);

/** Keys that say what is done with results, or where the data lie. */
const INDIFFERENT = [
  'result_format',
  'catch_exceptions',
  'meta',
  'batch_id',
  'include_config',
  'column_index',
  'severity',
];
/** Names of pandas, SQL and Spark, in lower case. */
const TYPES: readonly (readonly [RegExp, 'integer' | 'boolean' | 'number' | 'text'])[] = [
  [/^(u?int(eger)?\d*|(tiny|small|big)int|integertype|longtype|shorttype|bytetype)$/, 'integer'],
  [/^(bool(ean)?_?|booleantype)$/, 'boolean'],
  [/^(float\d*|double(type|_precision)?|floattype|real|numeric|decimal(type)?|number)$/, 'number'],
  [/^(str(ing)?_?|object|text|(var)?char|stringtype)$/, 'text'],
];

/** Expectations about the values of one column, each with the keys that it may have. */
const TRANSLATIONS: Readonly<
  Record<string, readonly [keys: readonly string[], (kwargs: Kwargs, input: SignedInput) => Translated]>
> = {
  expect_column_values_to_be_between: [['min_value', 'max_value', 'strict_min', 'strict_max'], toRange],
  expect_column_values_to_be_in_set: [['value_set'], toSet],
  expect_column_values_to_not_be_null: [[], (kwargs) => ({ rule: 'present', ...mostlyOf(kwargs) })],
  expect_column_values_to_be_of_type: [['type_'], toType],
};

export const isAboutValues = ({ type }: Expectation): boolean => Object.hasOwn(TRANSLATIONS, type);

/** @throws Untranslatable */
export function translate({ type, kwargs }: Expectation, input: SignedInput): Translated {
  const [keys, toRule] = TRANSLATIONS[type] ?? [];
  if (!keys || !toRule) throw no('it is of a kind that a device cannot hold');
  const known = [...keys, 'column', 'mostly', ...INDIFFERENT];
  const foreign = Object.keys(kwargs).find((key) => !known.includes(key) && kwargs[key] !== false);
  if (foreign !== undefined) throw no(`"${foreign}" would be lost`);
  return toRule(kwargs, input);
}

function mostlyOf({ mostly }: Kwargs): { mostly?: number } {
  if (mostly === undefined || mostly === 1) return {};
  if (typeof mostly === 'number' && mostly > 0 && mostly < 1) return { mostly };
  throw no(`"mostly" is no share above 0: ${JSON.stringify(mostly)}`);
}

function toRange(kwargs: Kwargs, { datatype }: SignedInput): Translated {
  if (datatype === 'BYTES') throw no('the input holds strings');
  const bound = (name: string) => {
    const value = kwargs[name];
    if (value === undefined || typeof value === 'number') return value;
    throw no(`"${name}" is no number: ${JSON.stringify(value)}`);
  };
  const [min, max] = [bound('min_value'), bound('max_value')];
  if (min === undefined && max === undefined) throw no('it has no bounds');
  return {
    rule: 'range',
    ...(min === undefined ? {} : { min, ...(kwargs['strict_min'] === true && { strictMin: true }) }),
    ...(max === undefined ? {} : { max, ...(kwargs['strict_max'] === true && { strictMax: true }) }),
    ...mostlyOf(kwargs),
  };
}

function toSet(kwargs: Kwargs, { datatype }: SignedInput): Translated {
  const given = kwargs['value_set'];
  if (!Array.isArray(given) || given.length === 0) throw no('it has no list of values');
  const values = given.map((value: unknown): number | string => {
    if (datatype === 'BYTES' && typeof value === 'string') return value;
    if (datatype !== 'BYTES' && typeof value === 'number') return value;
    if (datatype !== 'BYTES' && typeof value === 'boolean') return value ? 1 : 0;
    throw no(`the input is ${datatype}, and ${JSON.stringify(value)} is among the values`);
  });
  return { rule: 'set', values: [...new Set(values)], ...mostlyOf(kwargs) };
}

function toType(kwargs: Kwargs, { datatype }: SignedInput): Translated {
  const name = kwargs['type_'];
  if (typeof name !== 'string') throw no('it names no type');
  const type = TYPES.find(([pattern]) => pattern.test(name.toLowerCase()))?.[1];
  if (type === undefined) throw no(`the type "${name}" is none of those known here`);
  const isText = datatype === 'BYTES';
  if ((type === 'text') !== isText) throw no(`the input is ${datatype}, and the type is "${name}"`);
  // Strings are strings, and any number will do as a float.
  if (type === 'text' || type === 'number') return null;
  return { rule: 'type', type, ...mostlyOf(kwargs) };
}
