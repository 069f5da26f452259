import { Type, type Static } from 'typebox';

const strict = { additionalProperties: false } as const;
const MAX_TEXT = 1000;

export const ParameterValue = Type.Union([Type.Number(), Type.Boolean(), Type.String({ maxLength: MAX_TEXT })]);
export type ParameterValue = Static<typeof ParameterValue>;

export const ParameterType = Type.Enum(['number', 'integer', 'boolean', 'string', 'enum']);
export type ParameterType = Static<typeof ParameterType>;

/** One parameter as it is declared: its type, its bounds, and the value of a site that says nothing else. */
export const Parameter = Type.Object(
  {
    type: ParameterType,
    description: Type.Optional(Type.String({ maxLength: 500 })),
    /** For people: `m/s`, `px`, `%`. */
    unit: Type.Optional(Type.String({ minLength: 1, maxLength: 32 })),
    /** Numbers and integers: inclusive. */
    minimum: Type.Optional(Type.Number()),
    maximum: Type.Optional(Type.Number()),
    /** Strings: in characters. */
    maxLength: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_TEXT })),
    /** Enums: what it may be. Each once; `uniqueItems` would say so by hashing whatever a stranger has put there, however deep. */
    values: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 200 }), { minItems: 1, maxItems: 1000 })),
    default: ParameterValue,
  },
  strict,
);
export type Parameter = Static<typeof Parameter>;

type Bound = 'minimum' | 'maximum' | 'maxLength' | 'values';

interface TypeRow {
  /** The bounds that this type may have. */
  readonly bounds: readonly Bound[];
  readonly is: (value: ParameterValue) => boolean;
  readonly called: string;
}

const isFinite = (value: ParameterValue): boolean => typeof value === 'number' && Number.isFinite(value);

const TYPES: { readonly [Type in ParameterType]: TypeRow } = {
  number: { bounds: ['minimum', 'maximum'], is: isFinite, called: 'a number' },
  integer: {
    bounds: ['minimum', 'maximum'],
    is: (value) => Number.isSafeInteger(value),
    called: 'an integer that JSON carries exactly',
  },
  boolean: { bounds: [], is: (value) => typeof value === 'boolean', called: 'true or false' },
  string: { bounds: ['maxLength'], is: (value) => typeof value === 'string', called: 'a text' },
  enum: { bounds: ['values'], is: (value) => typeof value === 'string', called: 'one of its values' },
};

const BOUNDS: readonly Bound[] = ['minimum', 'maximum', 'maxLength', 'values'];

/** What is wrong with a value, in words that follow its name; undefined when nothing is. */
export function valueProblem(declared: Parameter, value: ParameterValue): string | undefined {
  const { minimum, maximum, maxLength, values, unit } = declared;
  const row = TYPES[declared.type];
  const said = JSON.stringify(value);
  if (!row.is(value)) return `must be ${row.called}, and is ${said}`;
  const measure = unit === undefined ? '' : ` ${unit}`;
  if (minimum !== undefined && Number(value) < minimum) return `must be at least ${minimum}${measure}, and is ${said}`;
  if (maximum !== undefined && Number(value) > maximum) return `must be at most ${maximum}${measure}, and is ${said}`;
  if (maxLength !== undefined && [...String(value)].length > maxLength)
    return `must have at most ${maxLength} characters, and is ${said}`;
  if (values !== undefined && !values.includes(String(value)))
    return `must be one of ${values.join(', ')}, and is ${said}`;
  return undefined;
}

/** What is wrong with a declaration: bounds that do not fit the type, bounds that nothing meets, a default beyond them. */
export function declarationProblems(declared: Parameter): string[] {
  const { type, minimum, maximum, values } = declared;
  const misfits = BOUNDS.filter((bound) => declared[bound] !== undefined && !TYPES[type].bounds.includes(bound));
  const problems = misfits.map((bound) => `has "${bound}", which a parameter of the type "${type}" cannot have`);
  if (type === 'enum' && values === undefined) problems.push('is an enum and lacks "values"');
  if (values !== undefined && new Set(values).size < values.length) problems.push('names one of its values twice');
  if (minimum !== undefined && maximum !== undefined && minimum > maximum)
    problems.push(`has a minimum of ${minimum} above its maximum of ${maximum}`);
  if (problems.length > 0) return problems;
  const wrong = valueProblem(declared, declared.default);
  return wrong === undefined ? [] : [`has a default that ${wrong}`];
}
