import { Type, type Static, type TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { DIGEST_PATTERN, NAME_PATTERN, type Digest, type ModelName } from '@drover/shared/ids';
import { Datatype, MAX_RANK } from '@drover/shared/tensors';
import { formatProblems, validate } from '@drover/shared/validation';
import { FeedbackBody } from '../../serve/protocol/rest/bodies.js';
import { AttachError } from '../errors.js';

// What an attached application says (docs/attach.md). Unknown keys pass, so that it may be newer than the agent.

const text = (maxLength: number) => Type.String({ minLength: 1, maxLength });
const digest = Type.Unsafe<Digest>(Type.String({ pattern: DIGEST_PATTERN }));
const maxRows = { maxItems: 100_000 } as const;

/** Row-major; `data` in the JSON form only, flat or nested. */
const Tensor = Type.Object({
  name: text(200),
  datatype: Datatype,
  shape: Type.Array(Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 }), { maxItems: MAX_RANK }),
  data: Type.Optional(Type.Array(Type.Unknown())),
});
export type ObservedTensor = Static<typeof Tensor>;

const Hello = Type.Object({
  type: Type.Literal('hello'),
  protocol: Type.Literal(1),
  model: Type.Unsafe<ModelName>(Type.String({ pattern: NAME_PATTERN })),
  /** What the application runs models with, for state reports. */
  runtime: Type.Optional(text(32)),
  loaded: Type.Optional(digest),
});
const Loaded = Type.Object({ type: Type.Literal('loaded'), digest });
const Refused = Type.Object({ type: Type.Literal('refused'), digest, reason: text(1_000) });

/** One request that the application answered, or failed to. */
const Inference = Type.Object({
  type: Type.Literal('inference'),
  id: Type.Optional(text(200)),
  latencyUs: Type.Integer({ minimum: 0, maximum: 2 ** 53 - 1 }),
  failed: Type.Optional(Type.Boolean()),
  /** Rows of the one input, where it has two axes; in place of `inputs`. */
  features: Type.Optional(Type.Array(Type.Array(Type.Number()), { minItems: 1, ...maxRows })),
  inputs: Type.Optional(Type.Array(Tensor, { maxItems: 64 })),
  outputs: Type.Optional(Type.Array(Tensor, { maxItems: 64 })),
  /** Class index for each row, and its probability; in place of `outputs`. */
  classes: Type.Optional(Type.Array(Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 }), maxRows)),
  confidences: Type.Optional(Type.Array(Type.Number({ minimum: 0, maximum: 1 }), maxRows)),
});
export type ObservedInference = Static<typeof Inference>;

/** Ground truth for the rows of an earlier request: as in the feedback of the inference protocol. */
const Label = Type.Object({
  type: Type.Literal('label'),
  id: text(200),
  labels: FeedbackBody.properties.labels,
});
export type ObservedLabel = Static<typeof Label>;

const Bye = Type.Object({ type: Type.Literal('bye') });

const SCHEMAS = {
  hello: Hello,
  loaded: Loaded,
  refused: Refused,
  inference: Inference,
  label: Label,
  bye: Bye,
} as const satisfies Record<string, TSchema>;
export type ObserveMessage = { [Kind in keyof typeof SCHEMAS]: Static<(typeof SCHEMAS)[Kind]> }[keyof typeof SCHEMAS];

/** Compiled, since every inference passes one. */
const CHECKS = new Map(Object.entries(SCHEMAS).map(([kind, schema]) => [kind, { schema, compiled: Compile(schema) }]));

/** @throws AttachError OBSERVE_INVALID, which says what is wrong with it where that `isExplained`: to find out takes many times as long as to see that something is */
export function readMessage(json: string, isExplained = true): ObserveMessage {
  let message: unknown;
  try {
    message = JSON.parse(json);
  } catch (cause) {
    throw invalid(`it is not JSON (${(cause as Error).message})`);
  }
  const kind = typeof message === 'object' && message !== null && 'type' in message ? message.type : undefined;
  const check = typeof kind === 'string' ? CHECKS.get(kind) : undefined;
  if (!check) throw invalid(`its "type" is none of ${[...CHECKS.keys()].join(', ')}`);
  if (check.compiled.Check(message)) return message;
  if (!isExplained) throw invalid('its keys are not those of its type');
  return validate(check.schema, message, (problems) => invalid(formatProblems(problems)));
}

export const invalid = (why: string): AttachError =>
  new AttachError('OBSERVE_INVALID', `The message cannot be taken: ${why}.`, {
    remedy: 'See the messages and their keys in docs/attach.md.',
  });
