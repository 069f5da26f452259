import type { Static, TSchema } from 'typebox';
import { Value } from 'typebox/value';

/** One bad place in a document: a JSON pointer and what was expected there. */
export interface Problem {
  readonly path: string;
  readonly message: string;
}

const MAX_PROBLEMS = 20;

/**
 * Validates once, at the edge: returns the narrower type, or throws what `refuse` makes of *all* the bad paths.
 * A union reports each of its branches; the noise of `anyOf` and `boolean` bookkeeping lines is left out.
 */
export function validate<Schema extends TSchema>(
  schema: Schema,
  value: unknown,
  refuse: (problems: readonly Problem[]) => Error,
): Static<Schema> {
  if (Value.Check(schema, value)) return value;
  const problems: Problem[] = [];
  for (const error of Value.Errors(schema, value)) {
    if (error.keyword === 'anyOf' || error.keyword === 'additionalProperties') continue;
    const message = error.keyword === 'boolean' ? 'is not a known key' : describe(error);
    problems.push({ path: error.instancePath === '' ? '/' : error.instancePath, message });
    if (problems.length === MAX_PROBLEMS) break;
  }
  throw refuse(problems);
}

function describe(error: { keyword: string; message: string; params: unknown }): string {
  if (error.keyword === 'const') {
    return `must be ${JSON.stringify((error.params as { allowedValue: unknown }).allowedValue)}`;
  }
  if (error.keyword === 'enum') {
    return `must be one of ${(error.params as { allowedValues: unknown[] }).allowedValues.join(', ')}`;
  }
  if (error.keyword === 'required') {
    return `lacks ${(error.params as { requiredProperties: string[] }).requiredProperties.join(', ')}`;
  }
  return error.message;
}

export function formatProblems(problems: readonly Problem[]): string {
  return problems.map(({ path, message }) => `${path} ${message}`).join('; ');
}

/** JSON of UTF-8 bytes, or what `refuse` makes of the parser's complaint. */
export function parseJsonBytes(bytes: Uint8Array, refuse: (why: string, cause: unknown) => Error): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
  } catch (cause) {
    throw refuse('it is not JSON', cause);
  }
}
