import { Type, type Static } from 'typebox';
import { formatProblems, validate } from '@drover/shared/validation';
import { CliError } from '../errors.js';
import { readJson } from '../files.js';

const kwargs = Type.Record(Type.String(), Type.Unknown());

/** A suite of Great Expectations as it is saved: `expectation_type` up to version 0.18, `type` since 1.0. Further keys are of no matter here. */
const Suite = Type.Object({
  expectations: Type.Array(
    Type.Union([
      Type.Object({ type: Type.String(), kwargs: Type.Optional(kwargs) }),
      Type.Object({ expectation_type: Type.String(), kwargs: Type.Optional(kwargs) }),
    ]),
    { maxItems: 10_000 },
  ),
});

/** One expectation of a suite. */
export interface Expectation {
  readonly type: string;
  readonly kwargs: Readonly<Record<string, unknown>>;
}

/** @throws CliError CLI_FILE_UNREADABLE */
export function readSuite(file: string): Expectation[] {
  const suite: Static<typeof Suite> = validate(
    Suite,
    readJson(file),
    (problems) =>
      new CliError('CLI_FILE_UNREADABLE', `This is no suite of Great Expectations: ${formatProblems(problems)}.`, {
        where: file,
        remedy: 'Give the JSON file that Great Expectations saved (gx/expectations/NAME.json).',
      }),
  );
  return suite.expectations.map((expectation) => ({
    type: 'type' in expectation ? expectation.type : expectation.expectation_type,
    // What is not set may be there as null.
    kwargs: Object.fromEntries(Object.entries(expectation.kwargs ?? {}).filter(([, value]) => value !== null)),
  }));
}
