import { Type, type Static } from 'typebox';
import { labelRequestId } from './label-listing.js';
import { atMs, count, deviceId, modelName, protocol, text } from './vocabulary.js';

export const LABEL_ANSWERS_TYPE = 'application/vnd.drover.label-answers+json';
/** How an agent that reads them says so among what it `takes` (docs/protocol.md, section 1). */
export const LABEL_ANSWERS_TAKEN = 'label-answers';
/** Of one document. */
export const MAX_LABEL_ANSWERS = 100;

const strict = { additionalProperties: false } as const;

/**
 * What requests for labels were answered at the control plane, signed by the director (docs/protocol.md, section 9). It orders nothing, so it has neither
 * counter nor expiry: each answer is bound to one request of one device, and the second one for it changes nothing.
 */
export const LabelAnswers = Type.Object(
  {
    protocol,
    kind: Type.Literal('label-answers'),
    deviceId,
    issuedAt: atMs,
    answers: Type.Array(
      Type.Object(
        {
          id: labelRequestId,
          model: modelName,
          /** Class index; null from somebody who can't tell either. */
          label: Type.Union([count, Type.Null()]),
        },
        strict,
      ),
      { minItems: 1, maxItems: MAX_LABEL_ANSWERS },
    ),
  },
  strict,
);
export type LabelAnswers = Static<typeof LabelAnswers>;
export type SentLabelAnswer = LabelAnswers['answers'][number];

/** What became of an answer: `joined`, `repeated`, `declined`, `conflicting`, `gone`, `unknown` or `unfit`; a newer agent may know more. */
export const LabelOutcome = Type.Object({ id: labelRequestId, became: text(32) });
export type LabelOutcome = Static<typeof LabelOutcome>;
