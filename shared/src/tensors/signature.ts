import { Type, type Static } from 'typebox';
import { Datatype } from './datatype.js';

/** Shape in elements, row-major; −1 is a variable axis. */
export const TensorSignature = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 200 }),
    datatype: Datatype,
    shape: Type.Array(Type.Integer({ minimum: -1 }), { maxItems: 16 }),
  },
  { additionalProperties: false },
);
export type TensorSignature = Static<typeof TensorSignature>;
