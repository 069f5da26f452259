import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Static, TSchema } from 'typebox';
import { formatProblems, validate } from '@drover/shared/validation';
import { invalid } from '../invalid.js';
import type { InferParameter, InferParameterSchema } from './generated/inference_pb.js';

/** The parameters of a message as they would stand in JSON, checked. @throws ServeError REQUEST_INVALID */
export function readParameters<Schema extends TSchema>(
  schema: Schema,
  parameters: Readonly<Record<string, InferParameter>>,
): Static<Schema> {
  const plain = Object.fromEntries(
    Object.entries(parameters).map(
      ([
        name,
        {
          parameterChoice: { value },
        },
      ]) => [name, typeof value === 'bigint' ? Number(value) : value],
    ),
  );
  return validate(schema, plain, (problems) => invalid(`its parameters are malformed: ${formatProblems(problems)}`));
}

export const writeParameters = (
  parameters: Readonly<Record<string, string | number>>,
): Record<string, MessageInitShape<typeof InferParameterSchema>> =>
  Object.fromEntries(
    Object.entries(parameters).map(([name, value]) => [
      name,
      {
        parameterChoice:
          typeof value === 'string'
            ? { case: 'stringParam' as const, value }
            : { case: 'int64Param' as const, value: BigInt(value) },
      },
    ]),
  );
