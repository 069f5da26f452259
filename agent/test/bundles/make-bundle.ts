import { blobEntry, BUNDLE_FORMAT, metadataEntry, packBundle } from '@drover/shared/bundle';
import { digestOf, ModelName } from '@drover/shared/ids';
import type { RepositorySimulator } from '@drover/shared/trust/tuf/simulator';
import type { Published } from '../update/fixtures/releases.js';

export type Entries = [name: string, content: Uint8Array][];

/** Everything of one release, as the exporter puts it together. */
export const entriesOf = (repository: RepositorySimulator, { release, manifestBytes, files }: Published): Entries => [
  ...[...repository.files].map(([name, bytes]): Entries[number] => [metadataEntry(name), bytes]),
  [blobEntry(release.digest), manifestBytes],
  ...[...files].map(([digest, bytes]): Entries[number] => [blobEntry(digest), bytes]),
];

export function packed({ release, manifest }: Published, entries: Entries): Buffer {
  const contents = {
    format: BUNDLE_FORMAT,
    createdAt: 0,
    release: { model: ModelName(manifest.model), ...release },
    entries: entries.map(([name, content]) => ({ name, bytes: content.length, digest: digestOf(content) })),
  } as const;
  return packBundle(contents, entries);
}
