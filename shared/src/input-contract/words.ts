import type { ContractedInput, InputRule } from './schema.js';

const MAX_SAID = 120;
const shorten = (said: string): string => (said.length > MAX_SAID ? `${said.slice(0, MAX_SAID)}…` : said);

/** What a rule asks, in words that follow "must be": bounded. */
export function sayRule({ rule, min, max, strictMin, strictMax, values = [], type, mostly }: InputRule): string {
  const said = {
    range: () => {
      const low = min === undefined ? [] : [strictMin === true ? `above ${min}` : `at least ${min}`];
      const high = max === undefined ? [] : [strictMax === true ? `below ${max}` : `at most ${max}`];
      return [...low, ...high].join(' and ');
    },
    set: () => shorten(`one of ${values.map((value) => JSON.stringify(value)).join(', ')}`),
    present: () => 'there',
    type: () => ({ number: 'a finite number', integer: 'a whole number', boolean: '0 or 1' })[type ?? 'number'],
  }[rule]();
  return mostly === undefined || mostly === 1
    ? said
    : `${said} in at least ${Number((mostly * 100).toFixed(4))} % of rows`;
}

/** The column's name, or its index where it has none; empty for every value of the input. */
export function sayColumn(
  { features }: Pick<ContractedInput, 'features'>,
  { column }: Pick<InputRule, 'column'>,
): string {
  if (column === undefined) return '';
  return typeof column === 'string' ? column : (features?.[column] ?? String(column));
}

/** A value of a request, for people: bounded, since it comes from anybody. */
export const sayValue = (value: number | string | undefined): string =>
  typeof value === 'string' ? shorten(JSON.stringify(value)) : value === undefined ? 'missing' : String(value);
