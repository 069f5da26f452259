import type { Datatype } from '../tensors/index.js';
import type { Problem } from '../validation/index.js';
import type { ContractedInput, InputContract, InputRule, InputRuleName } from './schema.js';
import { sayColumn, sayRule } from './words.js';

/** An input as a variant of the model signs it. */
export interface SignedInput {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
}

const MAX_NAMED_PROBLEMS = 20;

/** Keys that belong to one kind of rule. */
const KEYS = {
  range: ['min', 'max', 'strictMin', 'strictMax'],
  set: ['values'],
  present: [],
  type: ['type'],
} as const satisfies Record<InputRuleName, readonly (keyof InputRule)[]>;

/** What is wrong with a contract: by itself, or for a model with these inputs. Not more than twenty problems, each under its place in the contract. */
export function contractProblems(contract: InputContract, signature: readonly SignedInput[]): Problem[] {
  const problems: Problem[] = [];
  const names = new Set<string>();
  for (const [index, input] of contract.inputs.entries()) {
    const path = `/inputs/${index}`;
    if (names.has(input.name)) problems.push({ path, message: `is about "${input.name}" a second time` });
    names.add(input.name);
    const signed = signature.find(({ name }) => name === input.name);
    if (!signed) {
      const known = signature.map(({ name }) => `"${name}"`).join(', ');
      problems.push({ path, message: `is about "${input.name}"; the inputs of the model are ${known}` });
      continue;
    }
    problems.push(...featureProblems(input, signed).map((message) => ({ path: `${path}/features`, message })));
    const said = new Set<string>();
    for (const [place, rule] of input.rules.entries()) {
      const found = [...ruleProblems(rule), ...misfits(rule, input, signed)];
      const words = `${sayColumn(input, rule)} ${JSON.stringify({ ...rule, column: undefined })}`;
      if (said.has(words)) found.push('says what an earlier rule says');
      said.add(words);
      problems.push(...found.map((message) => ({ path: `${path}/rules/${place}`, message })));
      if (problems.length >= MAX_NAMED_PROBLEMS) return problems.slice(0, MAX_NAMED_PROBLEMS);
    }
  }
  return problems;
}

function featureProblems({ features }: ContractedInput, { shape }: SignedInput): string[] {
  if (!features) return [];
  if (shape.length !== 2)
    return [`names columns of an input of ${shape.length} axes; only inputs of two axes have columns`];
  const width = shape[1] ?? -1;
  return [
    ...(width >= 0 && width !== features.length ? [`names ${features.length} columns; the input has ${width}`] : []),
    ...(new Set(features).size < features.length ? ['names a column twice'] : []),
  ];
}

/** What a rule says against itself. */
function ruleProblems(rule: InputRule): string[] {
  const { min, max, strictMin, strictMax, values } = rule;
  const foreign = Object.values(KEYS)
    .flat()
    .filter((key) => rule[key] !== undefined && !(KEYS[rule.rule] as readonly string[]).includes(key));
  const problems = foreign.map((key) => `has "${key}", which a rule "${rule.rule}" cannot have`);
  if (rule.rule === 'range') {
    if (min === undefined && max === undefined) problems.push('needs "min" or "max"');
    if (strictMin !== undefined && min === undefined) problems.push('has "strictMin" without "min"');
    if (strictMax !== undefined && max === undefined) problems.push('has "strictMax" without "max"');
    const isStrict = strictMin === true || strictMax === true;
    if (min !== undefined && max !== undefined && (min > max || (min === max && isStrict)))
      problems.push(`is met by nothing: ${sayRule(rule)}`);
  }
  if (rule.rule === 'set' && !values) problems.push('needs "values"');
  if (rule.rule === 'type' && rule.type === undefined) problems.push('needs "type"');
  if (values && new Set(values).size < values.length) problems.push('names one of its values twice');
  return problems;
}

/** What a rule cannot be asked of this input. */
function misfits(rule: InputRule, { features }: ContractedInput, { datatype, shape }: SignedInput): string[] {
  const { column, values = [] } = rule;
  const problems: string[] = [];
  if (column !== undefined && shape.length !== 2)
    problems.push(`is about a column of an input of ${shape.length} axes; only inputs of two axes have columns`);
  else if (typeof column === 'string' && features?.includes(column) !== true)
    problems.push(`is about the column "${column}", which is not among "features"`);
  else if (typeof column === 'number' && column >= widthOf(shape, features))
    problems.push(`is about the column ${column}; the columns are 0 to ${widthOf(shape, features) - 1}`);
  const isText = datatype === 'BYTES';
  if (isText && (rule.rule === 'range' || rule.rule === 'type'))
    problems.push(`is about numbers, and the input holds strings (BYTES)`);
  if (values.some((value) => (typeof value === 'string') !== isText))
    problems.push(`has values that are no ${isText ? 'strings' : 'numbers'}, and the input is ${datatype}`);
  return problems;
}

function widthOf(shape: readonly number[], features: readonly string[] | undefined): number {
  const [, width = -1] = shape;
  return width >= 0 ? width : (features?.length ?? Infinity);
}
