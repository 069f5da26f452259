import { Type, type Static } from 'typebox';
import { formatProblems, validate } from '@drover/shared/validation';
import { isTopLevel } from '../../release-repository/metadata-files.js';
import type { Client } from '../client.js';
import { CliError } from '../errors.js';

const PublishedState = Type.Object({
  exists: Type.Boolean(),
  development: Type.Boolean(),
  roles: Type.Array(Type.Object({ role: Type.String(), version: Type.Integer({ minimum: 1 }) })),
});
export type PublishedState = Static<typeof PublishedState>;

/** What the control plane says that it has. @throws CliError CLI_ANSWER_UNREADABLE */
export async function publishedState(client: Client): Promise<PublishedState> {
  return validate(
    PublishedState,
    await client.get<unknown>('/repository'),
    (problems) =>
      new CliError('CLI_ANSWER_UNREADABLE', `This is no state of a release repository: ${formatProblems(problems)}.`, {
        where: `${client.url}/api/v1/repository`,
        remedy: 'Check that the address is that of a control plane and not of a proxy.',
      }),
  );
}

export const modelsIn = ({ roles }: PublishedState): string[] =>
  roles.map(({ role }) => role).filter((role) => !isTopLevel(role));
