import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputChecker, type InputContract, type InputRule } from '../../src/input-contract/index.js';
import { toFloat16, type ModelTensor } from '../../src/tensors/index.js';

const WIDTH = 3;
const signature = [{ name: 'x', datatype: 'FP32', shape: [-1, WIDTH] }] as const;
const contractOf = (rules: InputRule[], facts: Partial<InputContract> = {}): InputContract => ({
  action: 'reject',
  inputs: [{ name: 'x', features: ['a', 'b', 'c'], rules }],
  ...facts,
});
const rowsOf = (...rows: number[][]): { x: ModelTensor } => ({
  x: { datatype: 'FP32', shape: [rows.length, WIDTH], data: Float32Array.from(rows.flat()) },
});
const check = (rule: InputRule, ...rows: number[][]) =>
  new InputChecker(contractOf([rule]), signature).check(rowsOf(...rows));

describe('when rows are held against a contract', () => {
  it('counts each row once for each rule that it breaks, and names the first value', () => {
    const rules: InputRule[] = [
      { rule: 'range', min: 0, max: 1 },
      { rule: 'range', column: 'c', max: 0.5 },
    ];
    const checked = new InputChecker(contractOf(rules), signature).check(rowsOf([0, 1, 0], [0, 2, 3], [5, 5, 0.75]));
    expect(checked.rows).toBe(3);
    expect(checked.counts.map(({ rule, rows }) => [rule.index, rule.feature, rule.says, rows])).toEqual([
      [0, '', 'at least 0 and at most 1', 2],
      [1, 'c', 'at most 0.5', 2],
    ]);
    expect(checked.offence).toMatchObject({ row: 1, value: '2', rule: { index: 0 } });
  });

  it('when everything holds, counts nothing', () => {
    expect(check({ rule: 'range', min: 0, max: 1 }, [0, 1, 0.5])).toEqual({ rows: 1, counts: [], offence: undefined });
  });

  it('when the release only records, has nothing against the request', () => {
    const contract = contractOf([{ rule: 'range', max: 0 }], { action: 'record' });
    const checked = new InputChecker(contract, signature).check(rowsOf([1, 1, 1]));
    expect([checked.counts.length, checked.offence]).toEqual([1, undefined]);
  });

  it.each([
    ['a bound as the input can hold it', { rule: 'range', column: 0, max: 0.3 }, [0.3, 0, 0], 0],
    ['a strict bound', { rule: 'range', column: 0, max: 0.3, strictMax: true }, [0.3, 0, 0], 1],
    ['a strict bound of 0', { rule: 'range', column: 0, min: 0, strictMin: true }, [0, 0, 0], 1],
    ['the number after a strict bound', { rule: 'range', column: 0, min: 0, strictMin: true }, [1e-45, 0, 0], 0],
    ['a missing value, of a range', { rule: 'range', column: 0, min: 0 }, [NaN, 0, 0], 0],
    ['a missing value, where it has to be there', { rule: 'present', column: 0 }, [NaN, 0, 0], 1],
    ['infinity, of a range without an end', { rule: 'range', column: 0, min: 0 }, [Infinity, 0, 0], 0],
    ['infinity, where a number is asked for', { rule: 'type', type: 'number', column: 0 }, [Infinity, 0, 0], 1],
    ['infinity, where a whole number is asked for', { rule: 'type', type: 'integer', column: 0 }, [-Infinity, 0, 0], 1],
    ['a fraction', { rule: 'type', type: 'integer', column: 0 }, [1.5, 0, 0], 1],
    ['a whole number', { rule: 'type', type: 'integer', column: 0 }, [-2, 0, 0], 0],
    ['neither 0 nor 1', { rule: 'type', type: 'boolean', column: 0 }, [2, 0, 0], 1],
    ['one of a set, as the input can hold it', { rule: 'set', values: [7, 0.1, 0], column: 0 }, [0.1, 0, 0], 0],
    ['none of a set', { rule: 'set', values: [7, 0.1, 0], column: 0 }, [0.2, 0, 0], 1],
  ] satisfies [string, InputRule, number[], number][])('judges %s', (_, rule, row, broken) => {
    expect(check(rule, row).counts.map(({ rows }) => rows)).toEqual(broken === 0 ? [] : [broken]);
  });

  it.each([
    ['FP16', { datatype: 'FP16', shape: [2], data: Uint16Array.of(toFloat16(0.5), toFloat16(9)) }],
    ['INT64', { datatype: 'INT64', shape: [2], data: BigInt64Array.of(1n, 9n) }],
    ['UINT64', { datatype: 'UINT64', shape: [2], data: BigUint64Array.of(1n, 9n) }],
    ['BOOL', { datatype: 'BOOL', shape: [2], data: Uint8Array.of(1, 9) }],
    ['FP64', { datatype: 'FP64', shape: [2], data: Float64Array.of(0.5, 9) }],
  ] satisfies [string, ModelTensor][])('reads %s', (_, tensor) => {
    const contract = contractOf([{ rule: 'range', max: 1 }]);
    const signed = [{ name: 'x', datatype: tensor.datatype, shape: [-1] }];
    const checked = new InputChecker(contract, signed).check({ x: tensor });
    expect(checked).toMatchObject({ rows: 2, counts: [{ rows: 1 }], offence: { row: 1, value: '9' } });
  });

  it('reads strings, and says only the beginning of a long one', () => {
    const rules: InputRule[] = [{ rule: 'set', values: ['red', 'blue'] }, { rule: 'present' }];
    const checker = new InputChecker(contractOf(rules), [{ name: 'x', datatype: 'BYTES', shape: [-1, 1] }]);
    const ask = (...data: string[]) => checker.check({ x: { datatype: 'BYTES', shape: [data.length, 1], data } });
    expect(ask('red', 'blue').counts).toEqual([]);
    expect(ask('red', '').offence).toMatchObject({ row: 1, value: '""', rule: { says: 'there' } });
    expect(ask('g'.repeat(1_000)).offence?.value).toHaveLength(121);
  });

  it('when the width is variable and a column is not there, takes its values for missing', () => {
    const rules: InputRule[] = [{ rule: 'range', column: 2, min: 1 }, { rule: 'present', column: 2 }]; // prettier-ignore
    const checker = new InputChecker(contractOf(rules), [{ name: 'x', datatype: 'FP32', shape: [-1, -1] }]);
    const checked = checker.check({ x: { datatype: 'FP32', shape: [2, 2], data: new Float32Array(4) } });
    expect(checked.counts.map(({ rule, rows }) => [rule.says, rows])).toEqual([['there', 2]]);
    expect(checked.offence).toMatchObject({ row: 0, value: 'missing' });
  });

  it('takes an input without a variable axis of rows for one row', () => {
    const signed = [{ name: 'x', datatype: 'FP32', shape: [4] }] as const;
    const checker = new InputChecker(contractOf([{ rule: 'range', max: 0 }]), signed);
    const checked = checker.check({ x: { datatype: 'FP32', shape: [4], data: Float32Array.of(1, 1, 1, 1) } });
    expect(checked).toMatchObject({ rows: 1, counts: [{ rows: 1 }] });
  });

  it('agrees with a plain reading of each rule, whatever the rows and the other rules', () => {
    const value = fc.oneof(fc.constant(NaN), fc.constantFrom(-1, 0, 1, 2, 0.5, 0.1), fc.float());
    const asked: fc.Arbitrary<InputRule> = fc.oneof(
      fc.record({
        rule: fc.constant('range' as const),
        min: fc.constantFrom(-1, 0, 0.1),
        max: fc.constantFrom(0.5, 1, 2),
        strictMin: fc.boolean(),
        strictMax: fc.boolean(),
      }),
      fc.record({
        rule: fc.constant('set' as const),
        values: fc.uniqueArray(fc.constantFrom(-1, 0, 0.1, 2), { minLength: 1 }),
      }),
      fc.constant<InputRule>({ rule: 'present' }),
      fc.constant<InputRule>({ rule: 'type', type: 'integer' }),
    );
    const rules = fc.array(
      fc
        .tuple(asked, fc.constantFrom(undefined, 0, 1, 2), fc.constantFrom(undefined, 0.5))
        .map(([rule, column, mostly]) => ({
          ...rule,
          ...(column === undefined ? {} : { column }),
          ...(mostly === undefined ? {} : { mostly }),
        })),
      { minLength: 1, maxLength: 6 },
    );
    const rows = fc.array(fc.array(value, { minLength: WIDTH, maxLength: WIDTH }), { minLength: 1 });
    fc.assert(
      fc.property(rules, rows, (given, table) => {
        const checked = new InputChecker(contractOf(given, { windowRows: 1 }), signature).check(rowsOf(...table));
        const brokenBy = given.map((rule) =>
          table.flatMap((row, index) => (valuesFor(rule, row).some((each) => !holds(rule, each)) ? [index] : [])),
        );
        expect(given.map((_, index) => checked.counts.find(({ rule }) => rule.index === index)?.rows ?? 0)).toEqual(
          brokenBy.map(({ length }) => length),
        );
        const refusing = given.findIndex(({ mostly }, index) => mostly === undefined && brokenBy[index]?.length);
        expect([checked.offence?.rule.index ?? -1, checked.offence?.row]).toEqual([refusing, brokenBy[refusing]?.[0]]);
        for (const { rule, share } of checked.counts) {
          const judged = table.filter((row) => valuesFor(given[rule.index], row).some((each) => isJudged(given[rule.index], each))); // prettier-ignore
          const held = judged.length - (brokenBy[rule.index]?.length ?? 0);
          expect(share).toBe(rule.mostly === 1 ? undefined : held / judged.length);
        }
      }),
    );
  });
});

const valuesFor = (rule: InputRule | undefined, row: readonly number[]): readonly number[] =>
  typeof rule?.column === 'number' ? [row[rule.column] ?? NaN] : row;
const isJudged = (rule: InputRule | undefined, value: number): boolean =>
  rule?.rule === 'present' || !Number.isNaN(value);

/** The rule, read slowly. */
function holds({ rule, min = -Infinity, max = Infinity, strictMin, strictMax, values = [] }: InputRule, given: number) {
  const value = Math.fround(given);
  if (Number.isNaN(value)) return rule !== 'present';
  if (rule === 'present') return true;
  if (rule === 'type') return Number.isInteger(value);
  if (rule === 'set') return values.map((each) => Math.fround(Number(each))).includes(value);
  const isAbove = strictMin === true ? value > Math.fround(min) : value >= Math.fround(min);
  return isAbove && (strictMax === true ? value < Math.fround(max) : value <= Math.fround(max));
}

describe('when most rows have to hold', () => {
  const rule: InputRule = { rule: 'range', column: 'a', max: 1, mostly: 0.75 };
  const open = (action: InputContract['action'] = 'record') =>
    new InputChecker(contractOf([rule], { action, windowRows: 4 }), signature);
  const good = [0, 0, 0];
  const bad = [2, 0, 0];

  it('judges the window with the request that fills it, and begins the next with the one after', () => {
    const checker = open();
    const shares = [[bad, good, good], [good], [bad], [bad, good, good], [good, good, good, good, bad]].map(
      (rows) => checker.check(rowsOf(...rows)).counts[0]?.share,
    );
    expect(shares).toEqual([undefined, 0.75, undefined, 0.5, 0.8]);
  });

  it('counts the rows that break it all the same, and refuses none for it', () => {
    const checked = open('reject').check(rowsOf(bad, good));
    expect(checked).toMatchObject({ counts: [{ rows: 1 }], offence: undefined });
    expect(checked.counts[0]?.rule.says).toBe('at most 1 in at least 75 % of rows');
  });

  it('leaves rows without a value out of the window', () => {
    const checker = open();
    const missing = [NaN, 0, 0];
    expect(checker.check(rowsOf(missing, missing, missing, good)).counts).toEqual([]);
    expect(checker.check(rowsOf(bad, missing, good, good)).counts[0]?.share).toBe(0.75);
  });
});
