import type { ContractedInput, InputContract, InputRule, SignedInput } from '@drover/shared/input-contract';
import { CliError } from '../errors.js';
import type { Expectation } from './suite.js';
import { isAboutValues, translate, Untranslatable } from './translate.js';

export interface ImportOptions {
  readonly file: string;
  readonly suite: readonly Expectation[];
  /** Columns of the input with two axes, in their order; those of the suite's ordered list where it has one. */
  readonly features?: readonly string[] | undefined;
  /** Names that samples give to these columns, where nothing else does. */
  readonly sampleNames?: readonly string[] | undefined;
  readonly skipsUnsupported: boolean;
  /** For people: what was left out. */
  readonly onNote?: ((line: string) => void) | undefined;
}

const NAMED = 20;

/**
 * The rules of a suite, for a model with these inputs. A column of the suite is a feature of the one input with two axes, or an input of its own name.
 *
 * @throws CliError CLI_EXPECTATIONS_UNSUPPORTED with every expectation that cannot be held, and why
 */
export function importSuite(inputs: readonly SignedInput[], options: ImportOptions): InputContract['inputs'] {
  const { suite, file, skipsUnsupported, onNote } = options;
  const table = tableOf(inputs, options);
  const rules = new Map<string, InputRule[]>();
  const problems: string[] = [];
  for (const expectation of suite) {
    try {
      if (!isAboutValues(expectation)) checkTable(expectation, inputs, table);
      else addRule(rules, toRule(expectation, inputs, table));
    } catch (error) {
      if (!(error instanceof Untranslatable)) throw error;
      problems.push(`${nameOf(expectation)}: ${error.message}`);
    }
  }
  if (problems.length > 0 && !skipsUnsupported) throw unsupported(file, problems);
  for (const problem of problems) onNote?.(`Left out of the contract: ${problem}.`);
  return [...rules].map(([name, own]) => ({
    name,
    ...(name === table?.name && table.features.length > 0 ? { features: [...table.features] } : {}),
    rules: own,
  }));
}

function addRule(rules: Map<string, InputRule[]>, found: Found | undefined): void {
  if (!found) return;
  const known = rules.get(found.input) ?? [];
  rules.set(found.input, known);
  if (!known.some((rule) => JSON.stringify(rule) === JSON.stringify(found.rule))) known.push(found.rule);
}

interface Table {
  readonly name: string;
  readonly features: readonly string[];
}

/** The input whose columns are those of the suite. */
function tableOf(inputs: readonly SignedInput[], { features, suite, sampleNames }: ImportOptions): Table | undefined {
  const wide = inputs.filter(({ shape }) => shape.length === 2 && shape[1] !== 1);
  const [input, ...others] = wide.length > 0 ? wide : inputs.filter(({ shape }) => shape.length === 2);
  if (!input || others.length > 0) return undefined;
  const ordered = suite.find(({ type }) => type === 'expect_table_columns_to_match_ordered_list')?.kwargs[
    'column_list'
  ];
  const named = features ?? (isTexts(ordered) ? ordered : sampleNames) ?? [];
  const fits = input.shape[1] === -1 || input.shape[1] === named.length;
  return { name: input.name, features: fits || features ? named : [] };
}

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((each) => typeof each === 'string');

interface Found {
  readonly input: string;
  readonly rule: InputRule;
}

function toRule(expectation: Expectation, inputs: readonly SignedInput[], table: Table | undefined): Found | undefined {
  const column = expectation.kwargs['column'];
  if (typeof column !== 'string') throw new Untranslatable('it names no column');
  const isFeature = table?.features.includes(column) === true;
  const input = inputs.find(({ name }) => name === (isFeature ? table.name : column));
  if (!input) throw new Untranslatable(noSuchColumn(column, table));
  const rule = translate(expectation, input);
  return rule ? { input: input.name, rule: { ...rule, ...(isFeature ? { column } : {}) } } : undefined;
}

const noSuchColumn = (column: string, table: Table | undefined): string =>
  `"${column}" is no input of the model, ${table && table.features.length > 0 ? 'and not among its features' : 'and its features have no names (--features)'}`;

/** Expectations about the columns themselves: they hold for the model, or the suite is for another. */
function checkTable({ type, kwargs }: Expectation, inputs: readonly SignedInput[], table: Table | undefined): void {
  const columns = table && table.features.length > 0 ? table.features : inputs.map(({ name }) => name);
  const holds = TABLE_CHECKS[type]?.(kwargs, columns);
  if (holds === undefined) throw new Untranslatable('it is of a kind that a device cannot hold');
  if (!holds) throw new Untranslatable(`the model has ${columns.join(', ').slice(0, 200)}`);
}

const TABLE_CHECKS: Readonly<Record<string, (kwargs: Expectation['kwargs'], columns: readonly string[]) => boolean>> = {
  expect_table_columns_to_match_ordered_list: ({ column_list: list }, columns) =>
    isTexts(list) && list.join('\n') === columns.join('\n'),
  expect_table_columns_to_match_set: ({ column_set: set, exact_match: exact }, columns) =>
    isTexts(set) && set.every((each) => columns.includes(each)) && (exact === false || set.length === columns.length),
  expect_column_to_exist: ({ column }, columns) => typeof column === 'string' && columns.includes(column),
  expect_table_column_count_to_equal: ({ value }, columns) => value === columns.length,
};

function nameOf({ type, kwargs: { column } }: Expectation): string {
  return typeof column === 'string' ? `${type} of "${column.slice(0, 100)}"` : type.slice(0, 100);
}

function unsupported(file: string, problems: readonly string[]): CliError {
  const more = problems.length > NAMED ? `; and ${problems.length - NAMED} more` : '';
  return new CliError(
    'CLI_EXPECTATIONS_UNSUPPORTED',
    `${problems.length} expectations cannot be held on a device: ${problems.slice(0, NAMED).join('; ')}${more}.`,
    {
      where: file,
      remedy: 'Name the columns in the order of the input with --features, or leave these out with --skip-unsupported.',
    },
  );
}

/** Two contracts of one model as one: rules about the same input come together, each once. */
export function joinInputs(left: InputContract['inputs'], right: InputContract['inputs']): InputContract['inputs'] {
  const joined = new Map(left.map((input) => [input.name, input]));
  for (const input of right) {
    const known = joined.get(input.name);
    joined.set(input.name, known ? both(known, input) : input);
  }
  return [...joined.values()];
}

function both(left: ContractedInput, right: ContractedInput): ContractedInput {
  const said = new Set(left.rules.map((rule) => JSON.stringify(rule)));
  const features = left.features ?? right.features;
  return {
    name: left.name,
    ...(features && { features }),
    rules: [...left.rules, ...right.rules.filter((rule) => !said.has(JSON.stringify(rule)))],
  };
}
