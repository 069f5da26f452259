import { blobEntry, metadataEntry } from '@drover/shared/bundle';
import type { Digest } from '@drover/shared/ids';
import type { MetadataFetcher } from '@drover/shared/trust/tuf';
import type { Origin, SourceError } from '../sources/index.js';
import { UpdateError } from '../update/errors.js';
import type { ReleaseSource } from '../update/fetch.js';
import type { BundleFile } from './bundle-file.js';

/**
 * A bundle as one more place where releases may come from (docs/protocol.md, section 13, step 1): what it gives goes the same way, through the same checks, as what comes over
 * the network.
 */
export function bundleOrigin(bundle: BundleFile, onDamaged: (error: SourceError) => void): Origin {
  const { model, version } = bundle.contents.release;
  let isDamaged = false;
  return {
    name: `bundle of ${model} ${version}`,
    source: bundleSource(bundle),
    holds: (digest) => bundle.entries.has(blobEntry(digest)),
    mayBeAsked: () => !isDamaged,
    failed(error) {
      // Metadata grows old, and a bundle with it; only bytes that are others than when it was imported are a fault.
      if (error.code === 'MIRROR_STALE') return;
      isDamaged = true;
      onDamaged(error);
    },
    succeeded: () => undefined,
  };
}

export const metadataOf = (bundle: BundleFile): MetadataFetcher => ({
  fetch: (name) => bundle.document(metadataEntry(name)),
});

function bundleSource(bundle: BundleFile): ReleaseSource {
  const entryOf = (digest: Digest) => {
    const entry = bundle.entries.get(blobEntry(digest));
    if (entry) return entry;
    throw new UpdateError('FETCH_NOT_FOUND', `The bundle does not hold ${digest}.`, {
      remedy: 'Nothing: the device asks elsewhere.',
    });
  };
  return {
    metadata: metadataOf(bundle),
    manifest: async (digest) => (await bundle.document(entryOf(digest).name)) ?? new Uint8Array(),
    // A generator, so that what is not there is said where it is asked for.
    async *blob(digest, offset) {
      yield* bundle.stream(entryOf(digest), offset);
    },
    async *readBlob(digest, { start, end }) {
      const entry = entryOf(digest);
      yield* bundle.stream(entry, start, Math.min(end, entry.bytes));
    },
  };
}
