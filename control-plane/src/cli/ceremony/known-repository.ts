import type { ModelName } from '@drover/shared/ids';
import {
  parseMetadata,
  encodeMetadata,
  type MetadataFile,
  type MetadataKind,
  type Root,
  type Targets,
} from '@drover/shared/trust/tuf';
import { repositoryMissing } from '../../release-repository/errors.js';
import type { RepositoryState } from '../../release-repository/index.js';
import type { Client } from '../client.js';

/** The repository as the control plane states it. Whoever signs on this basis looks at what they sign. */
export interface KnownRepository {
  readonly root: Root;
  readonly targets: Targets;
  /** Roles of models that have published. */
  readonly models: ReadonlyMap<ModelName, Targets>;
  readonly development: boolean;
}

const MAX_BYTES = 2 * 1024 * 1024;

export async function fetchMetadata<Kind extends MetadataKind>(
  client: Client,
  kind: Kind,
  role: string,
): Promise<MetadataFile<Kind>> {
  const file = await client.get<Omit<MetadataFile<Kind>, 'bytes'>>(`/repository/metadata/${role}.json`);
  return parseMetadata(kind, encodeMetadata(file), { where: `${role}.json`, maxBytes: MAX_BYTES });
}

export async function findRepository(client: Client): Promise<KnownRepository | undefined> {
  const { exists, development, roles } = await client.get<RepositoryState>('/repository');
  if (!exists) return undefined;
  const names = roles
    .map(({ role }) => role)
    .filter((role) => !['root', 'targets', 'snapshot', 'timestamp'].includes(role));
  const models = new Map<ModelName, Targets>();
  for (const name of names) models.set(name as ModelName, (await fetchMetadata(client, 'targets', name)).signed);
  return {
    root: (await fetchMetadata(client, 'root', 'root')).signed,
    targets: (await fetchMetadata(client, 'targets', 'targets')).signed,
    models,
    development,
  };
}

/** @throws RepositoryError REPOSITORY_MISSING */
export async function requireRepository(client: Client): Promise<KnownRepository> {
  const known = await findRepository(client);
  if (known) return known;
  throw repositoryMissing();
}
