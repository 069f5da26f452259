import { Type, type Static } from 'typebox';

/** Open Inference Protocol datatypes. */
export const Datatype = Type.Enum([
  'BOOL',
  'UINT8',
  'UINT16',
  'UINT32',
  'UINT64',
  'INT8',
  'INT16',
  'INT32',
  'INT64',
  'FP16',
  'FP32',
  'FP64',
  'BYTES',
]);
export type Datatype = Static<typeof Datatype>;
