import { Version } from '@drover/shared/ids';
import { assembleParametersRelease, ParametersDraft } from '@drover/shared/release';
import { formatProblems, validate } from '@drover/shared/validation';
import { CliError } from '../errors.js';
import { readJson } from '../files.js';

/** What somebody has written by hand. @throws CliError CLI_FILE_UNREADABLE */
export const readParameters = (file: string): ParametersDraft =>
  validate(
    ParametersDraft,
    readJson(file),
    (problems) =>
      new CliError('CLI_FILE_UNREADABLE', `This is no file of parameters: ${formatProblems(problems)}.`, {
        where: file,
        remedy: 'Mend the named keys; docs/operations.md has an example.',
      }),
  );

export interface ParametersBuildOptions {
  readonly file: string;
  readonly version: string;
  readonly createdAt: Date;
  /** The release that this one continues: what its changes are shown against. */
  readonly parent?: Parameters<typeof assembleParametersRelease>[1]['parent'];
}

/** @throws CliError CLI_FILE_UNREADABLE; ManifestError; IdError */
export const buildParametersRelease = ({ file, version, createdAt, parent }: ParametersBuildOptions) =>
  assembleParametersRelease(readParameters(file), { version: Version(version), createdAt, parent });
