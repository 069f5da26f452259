import { Type, type Static } from 'typebox';
import { DIGEST_PATTERN, type Digest } from '@drover/shared/ids';
import { MAX_RANK } from '../../tensors/tensor.js';
import { OutputParameters, PlaceParameters, RequestParameters } from '../parameters.js';

const MAX_NAME_LENGTH = 200;
const name = Type.String({ minLength: 1, maxLength: MAX_NAME_LENGTH });
const id = Type.String({ maxLength: 200 });
const shape = Type.Array(Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 }), { maxItems: MAX_RANK });
const byteSize = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

/** `system_shared_memory_register_request`. */
export const RegionBody = Type.Object({
  key: Type.String({ maxLength: 255 }),
  offset: Type.Optional(byteSize),
  byte_size: byteSize,
});

// Unknown keys pass, as the Open Inference Protocol asks of servers; `data` is checked element by element when it is read.

/** `inference_request` of the Open Inference Protocol v2, with Triton's binary tensor extension. */
export const InferBody = Type.Object({
  id: Type.Optional(id),
  parameters: Type.Optional(
    Type.Object({ ...RequestParameters.properties, binary_data_output: Type.Optional(Type.Boolean()) }),
  ),
  inputs: Type.Array(
    Type.Object({
      name,
      shape,
      datatype: Type.String({ maxLength: 32 }),
      parameters: Type.Optional(
        Type.Object({ ...PlaceParameters.properties, binary_data_size: Type.Optional(byteSize) }),
      ),
      data: Type.Optional(Type.Unknown()),
    }),
    { minItems: 1, maxItems: 64 },
  ),
  outputs: Type.Optional(
    Type.Array(
      Type.Object({
        name,
        parameters: Type.Optional(
          Type.Object({ ...OutputParameters.properties, binary_data: Type.Optional(Type.Boolean()) }),
        ),
      }),
      { maxItems: 64 },
    ),
  ),
});
export type InferBody = Static<typeof InferBody>;

/** Index or name of a class, or a true value; null where it is not known. */
const label = Type.Union([Type.Number(), Type.String({ maxLength: 100 }), Type.Null()]);

/** Our extension: ground truth for the rows of an earlier request (docs/protocol.md, section 9). */
export const FeedbackBody = Type.Object({
  id: Type.String({ minLength: 1, maxLength: 200 }),
  labels: Type.Array(label, { minItems: 1, maxItems: 100_000 }),
});
export type FeedbackBody = Static<typeof FeedbackBody>;

/** Our extension: what the agent asked for (docs/protocol.md, section 9). */
export const AnswerBody = Type.Object({ id: Type.String({ minLength: 1, maxLength: 100 }), label });

/** Our extension: an application can't work with its parameters (docs/protocol.md, section 9). */
export const RejectionBody = Type.Object({
  digest: Type.Unsafe<Digest>(Type.String({ pattern: DIGEST_PATTERN })),
  reason: Type.String({ minLength: 1, maxLength: 500 }),
});

/** `repository_index_request` of Triton's model repository extension. */
export const IndexBody = Type.Object({ ready: Type.Optional(Type.Boolean()) });
