import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { contractProblems, type SignedInput } from '@drover/shared/input-contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { importSuite, joinInputs, type ImportOptions } from '../../../src/cli/input-contract/import-suite.js';
import { readSuite } from '../../../src/cli/input-contract/suite.js';

const table: SignedInput[] = [{ name: 'x', datatype: 'FP32', shape: [-1, 3] }];
const features = ['heat', 'flow', 'gear'];
const OF_COLUMNS = 'expect_column_values_to_';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'drover-suite-'))));
afterEach(() => rmSync(folder, { recursive: true }));

/** Reads a suite as it lies on the disk. */
function imported(suite: string, inputs: SignedInput[], options: Partial<ImportOptions> = {}) {
  const file = join(folder, 'suite.json');
  writeFileSync(file, suite);
  return importSuite(inputs, { file, suite: readSuite(file), skipsUnsupported: false, ...options });
}
const one = (type: string, kwargs: object, inputs = table, options: Partial<ImportOptions> = { features }) =>
  imported(JSON.stringify({ name: 's', expectations: [{ type, kwargs }] }), inputs, options);
const rulesOf = (...given: Parameters<typeof one>) => one(...given).flatMap(({ rules }) => rules);

describe('a suite of Great Expectations', () => {
  const bounds = { column: 'heat', min_value: -40, max_value: 85, strict_max: true, mostly: 0.95 };

  it.each([
    ['0.18', { expectation_suite_name: 's', expectations: [{ expectation_type: `${OF_COLUMNS}be_between`, kwargs: bounds, meta: {} }] }], // prettier-ignore
    ['1.x', { name: 's', id: '1', expectations: [{ type: `${OF_COLUMNS}be_between`, kwargs: bounds, severity: 'critical', meta: null }] }], // prettier-ignore
  ])('when version %s saved it, gives the rules of its columns', (_, suite) => {
    const inputs = imported(JSON.stringify(suite), table, { features });
    const rule = { rule: 'range', column: 'heat', min: -40, max: 85, strictMax: true, mostly: 0.95 };
    expect(inputs).toEqual([{ name: 'x', features, rules: [rule] }]);
    expect(contractProblems({ action: 'record', inputs }, table)).toEqual([]);
  });

  it.each([
    ['be_between', { max_value: 3, min_value: null }, [{ rule: 'range', max: 3 }]],
    ['be_in_set', { value_set: [1, 2, 2, true] }, [{ rule: 'set', values: [1, 2] }]],
    ['not_be_null', { mostly: 1 }, [{ rule: 'present' }]],
    ['not_be_null', { mostly: 0.5, result_format: 'BASIC', strict: false }, [{ rule: 'present', mostly: 0.5 }]],
    ['be_of_type', { type_: 'int64' }, [{ rule: 'type', type: 'integer' }]],
    ['be_of_type', { type_: 'BooleanType' }, [{ rule: 'type', type: 'boolean' }]],
    ['be_of_type', { type_: 'float64' }, []],
  ])('when values have to %s with %j, asks the same', (type, kwargs, rules) => {
    const expected = rules.map((rule) => ({ ...rule, column: 'heat' }));
    expect(rulesOf(`${OF_COLUMNS}${type}`, { column: 'heat', ...kwargs })).toEqual(expected);
  });

  it.each([
    ['be_between', {}, 'it has no bounds'],
    ['be_between', { min_value: '2020-01-01' }, '"min_value" is no number'],
    ['be_between', { min_value: { $PARAMETER: 'low' } }, '"min_value" is no number'],
    ['be_between', { min_value: 0, row_condition: 'gear > 1' }, '"row_condition" would be lost'],
    ['be_between', { min_value: 0, mostly: 0 }, '"mostly" is no share above 0'],
    ['be_in_set', { value_set: ['red'] }, 'the input is FP32, and "red" is among the values'],
    ['be_of_type', { type_: 'str' }, 'the input is FP32, and the type is "str"'],
    ['be_of_type', { type_: 'geometry' }, 'the type "geometry" is none of those known here'],
    ['match_regex', { regex: '.' }, 'it is of a kind that a device cannot hold'],
  ])('when values have to %s with %j, says why that cannot be held, or leaves it out', (type, kwargs, why) => {
    const expectation = [`${OF_COLUMNS}${type}`, { column: 'heat', ...kwargs }] as const;
    expect(() => one(...expectation)).toThrow(
      expect.objectContaining({
        code: 'CLI_EXPECTATIONS_UNSUPPORTED',
        message: expect.stringContaining(`${OF_COLUMNS}${type} of "heat": ${why}`) as string,
      }),
    );
    const notes: string[] = [];
    const lenient = { features, skipsUnsupported: true, onNote: (line: string) => void notes.push(line) };
    expect(one(...expectation, table, lenient)).toEqual([]);
    expect(notes).toEqual([expect.stringContaining(why)]);
  });

  it('when several cannot be held, names each', () => {
    const expectations = ['a', 'b'].map((column) => ({ type: `${OF_COLUMNS}not_be_null`, kwargs: { column } }));
    const suite = JSON.stringify({ expectations });
    expect(() => imported(suite, table)).toThrow(/^2 expectations .* of "a": .* of "b": .*features have no names/);
  });

  it.each([
    ['expect_table_columns_to_match_ordered_list', { column_list: features }, true],
    ['expect_table_columns_to_match_ordered_list', { column_list: [...features].reverse() }, false],
    ['expect_table_columns_to_match_set', { column_set: [...features].reverse() }, true],
    ['expect_table_columns_to_match_set', { column_set: ['heat'] }, false],
    ['expect_table_columns_to_match_set', { column_set: ['heat'], exact_match: false }, true],
    ['expect_table_columns_to_match_set', { column_set: ['cold'], exact_match: false }, false],
    ['expect_column_to_exist', { column: 'gear' }, true],
    ['expect_column_to_exist', { column: 'cold' }, false],
    ['expect_table_column_count_to_equal', { value: 3 }, true],
    ['expect_table_column_count_to_equal', { value: 4 }, false],
  ])('when it says of the table %s %j, holds it against the model', (type, kwargs, holds) => {
    if (holds) expect(one(type, kwargs)).toEqual([]);
    else expect(() => one(type, kwargs)).toThrow(/the model has heat, flow, gear/);
  });

  it('when nobody names the features, takes the order that the suite demands, else the headings of the samples', () => {
    const present = { type: `${OF_COLUMNS}not_be_null`, kwargs: { column: 'flow' } };
    const ordered = { type: 'expect_table_columns_to_match_ordered_list', kwargs: { column_list: features } };
    const rules = [{ rule: 'present', column: 'flow' }];
    expect(imported(JSON.stringify({ expectations: [present, ordered] }), table)).toEqual([
      { name: 'x', features, rules },
    ]);
    const sampleNames = ['flow', 'b', 'c'];
    expect(imported(JSON.stringify({ expectations: [present] }), table, { sampleNames })).toEqual([
      { name: 'x', features: sampleNames, rules },
    ]);
  });

  it('when the model has an input for each column, is about these', () => {
    const inputs: SignedInput[] = [
      { name: 'age', datatype: 'INT64', shape: [-1, 1] },
      { name: 'city', datatype: 'BYTES', shape: [-1, 1] },
    ];
    const expectations = [
      { type: `${OF_COLUMNS}be_between`, kwargs: { column: 'age', min_value: 0 } },
      { type: `${OF_COLUMNS}be_in_set`, kwargs: { column: 'city', value_set: ['Ulm', 'Bonn'] } },
      { type: `${OF_COLUMNS}be_of_type`, kwargs: { column: 'city', type_: 'object' } },
      { type: 'expect_table_columns_to_match_set', kwargs: { column_set: ['city', 'age'] } },
    ];
    const made = imported(JSON.stringify({ expectations }), inputs);
    expect(made).toEqual([
      { name: 'age', rules: [{ rule: 'range', min: 0 }] },
      { name: 'city', rules: [{ rule: 'set', values: ['Ulm', 'Bonn'] }] },
    ]);
    expect(contractProblems({ action: 'record', inputs: made }, inputs)).toEqual([]);
  });

  it('when the file is none, says so', () => {
    expect(() => imported('{"expectations":[{"kwargs":{}}]}', table)).toThrow(
      expect.objectContaining({ code: 'CLI_FILE_UNREADABLE' }),
    );
  });

  it('when it joins a contract that was written by hand, each rule comes once', () => {
    const left = [{ name: 'x', features, rules: [{ rule: 'present' as const, column: 'heat' }] }];
    const right = [
      {
        name: 'x',
        rules: [
          { rule: 'present' as const, column: 'heat' },
          { rule: 'range' as const, column: 1, min: 0 },
        ],
      },
      { name: 'y', rules: [{ rule: 'present' as const }] },
    ];
    expect(joinInputs(left, right)).toEqual([
      {
        name: 'x',
        features,
        rules: [
          { rule: 'present', column: 'heat' },
          { rule: 'range', column: 1, min: 0 },
        ],
      },
      right[1],
    ]);
  });
});

/** Pythons that have Great Expectations, separated by colons; .ci/run makes them. */
const pythons = (process.env['DROVER_GREAT_EXPECTATIONS'] ?? 'python3').split(':');
const able = pythons.filter((python) => spawnSync(python, ['-c', 'import great_expectations']).status === 0);

it.skipIf(able.length === 0)(
  'when Great Expectations itself saved the suite, its rules are taken (set DROVER_GREAT_EXPECTATIONS to Pythons that have it; skipped without)',
  () => {
    for (const python of able) {
      const made = spawnSync(python, [join(import.meta.dirname, 'make_suite.py')], { encoding: 'utf8' });
      expect(made.status, made.stderr).toBe(0);
      const notes: string[] = [];
      const options = { skipsUnsupported: true, onNote: (line: string) => void notes.push(line) };
      const suite = made.stdout.trim().split('\n').at(-1) ?? '';
      expect(imported(suite, table, options)).toEqual([
        {
          name: 'x',
          features,
          rules: [
            { rule: 'present', column: 'heat' },
            { rule: 'range', column: 'heat', min: -40, max: 85.5, strictMax: true, mostly: 0.95 },
            { rule: 'range', column: 'flow', min: 0 },
            { rule: 'set', column: 'gear', values: [1, 2, 3] },
            { rule: 'type', column: 'gear', type: 'integer' },
          ],
        },
      ]);
      expect(notes).toEqual([expect.stringContaining('expect_column_values_to_match_regex of "gear"')]);
    }
  },
  120_000,
);
