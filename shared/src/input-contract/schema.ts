import { Type, type Static } from 'typebox';

const strict = { additionalProperties: false } as const;
const text = (maxLength: number) => Type.String({ minLength: 1, maxLength });

const MAX_RULES = 10_000;
const MAX_FEATURES = 10_000;
const MAX_VALUES = 1_000;

/** Rows over which a share (`mostly`) is judged where the contract does not say. */
export const DEFAULT_WINDOW_ROWS = 1_000;

export const InputRuleName = Type.Enum(['range', 'set', 'present', 'type']);
export type InputRuleName = Static<typeof InputRuleName>;

/**
 * One thing that holds for the values of a column, or for every value of an input. A missing value (NaN, or an empty string) breaks `present` alone;
 * the other rules pass over it, as Great Expectations does.
 */
export const InputRule = Type.Object(
  {
    rule: InputRuleName,
    /** Of a two-dimensional input, by its name among `features` or by its index; every value of the input where it is left out. */
    column: Type.Optional(Type.Union([Type.Integer({ minimum: 0 }), text(200)])),
    /** Range: inclusive, unless `strictMin` and `strictMax` say otherwise; rounded to the precision of the input. */
    min: Type.Optional(Type.Number()),
    max: Type.Optional(Type.Number()),
    strictMin: Type.Optional(Type.Boolean()),
    strictMax: Type.Optional(Type.Boolean()),
    /** Set: numbers, or strings for inputs of BYTES. */
    values: Type.Optional(
      Type.Array(Type.Union([Type.Number(), Type.String({ maxLength: 200 })]), { minItems: 1, maxItems: MAX_VALUES }),
    ),
    /** Type: a finite number, a whole one, or 0 and 1. */
    type: Type.Optional(Type.Enum(['number', 'integer', 'boolean'])),
    /** The share of the rows of a window that hold; every row has to where it is left out. */
    mostly: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 1 })),
  },
  strict,
);
export type InputRule = Static<typeof InputRule>;

/** What a release asks of the inputs that it is given (docs/protocol.md, section 9). */
export const InputContract = Type.Object(
  {
    /**
     * What becomes of a request with a row that breaks a rule: `reject` refuses it, `record` only counts it. A rule about a share of the rows
     * (`mostly` below 1) refuses nothing, since no single row breaks it.
     */
    action: Type.Enum(['reject', 'record']),
    /** Rows of a window over which shares are judged; 1,000 where it is left out. */
    windowRows: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 })),
    inputs: Type.Array(
      Type.Object(
        {
          name: text(200),
          /** Names of the columns of a two-dimensional input, in their order. */
          features: Type.Optional(Type.Array(text(200), { minItems: 1, maxItems: MAX_FEATURES })),
          rules: Type.Array(InputRule, { minItems: 1, maxItems: MAX_RULES }),
        },
        strict,
      ),
      { minItems: 1, maxItems: 64 },
    ),
  },
  strict,
);
export type InputContract = Static<typeof InputContract>;
export type ContractedInput = InputContract['inputs'][number];
