import { ModelName } from '@drover/shared/ids';
import type { Root, Targets } from '@drover/shared/trust/tuf';
import { repositoryMissing } from '../../release-repository/errors.js';
import type { Client } from '../client.js';
import { controlPlaneMetadata, requireFile } from '../release-metadata/source.js';
import { modelsIn, publishedState } from '../release-metadata/state.js';

/** The repository as the control plane states it. Whoever signs on this basis looks at what they sign. */
export interface KnownRepository {
  readonly root: Root;
  readonly targets: Targets;
  /** Roles of models that have published. */
  readonly models: ReadonlyMap<ModelName, Targets>;
  readonly development: boolean;
}

/** @throws CliError, RemoteError; TufError; RepositoryError REPOSITORY_FILE_UNKNOWN */
export async function findRepository(client: Client, signal: AbortSignal): Promise<KnownRepository | undefined> {
  const state = await publishedState(client);
  if (!state.exists) return undefined;
  const source = controlPlaneMetadata(client);
  const models = new Map<ModelName, Targets>();
  for (const name of modelsIn(state)) {
    models.set(ModelName(name), (await requireFile(source, 'targets', `${name}.json`, signal)).signed);
  }
  return {
    root: (await requireFile(source, 'root', 'root.json', signal)).signed,
    targets: (await requireFile(source, 'targets', 'targets.json', signal)).signed,
    models,
    development: state.development,
  };
}

/** @throws RepositoryError REPOSITORY_MISSING; as `findRepository` */
export async function requireRepository(client: Client, signal: AbortSignal): Promise<KnownRepository> {
  const known = await findRepository(client, signal);
  if (known) return known;
  throw repositoryMissing();
}
