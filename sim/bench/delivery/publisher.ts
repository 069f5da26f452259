import { buildChunkIndex, encodeChunkIndex, isWorthAnIndex, memorySource } from '@drover/shared/delivery';
import { digestHex, digestOf } from '@drover/shared/ids';
import type { FileReference } from '@drover/shared/manifest';
import type { Operator } from '../../src/fleet/index.js';

/** Uploads a file and its index, as `drover model publish` does, and gives what the manifest says of them. */
export async function upload(operator: Operator, path: string, content: Uint8Array): Promise<FileReference> {
  const source = memorySource(content);
  const index = buildChunkIndex(source);
  const reference = { path, digest: digestOf(content), bytes: content.length };
  await operator.putBlob(digestHex(reference.digest), content);
  if (!isWorthAnIndex(source, index)) return reference;
  const encoded = encodeChunkIndex(index);
  await operator.putBlob(digestHex(digestOf(encoded)), encoded);
  return { ...reference, index: { digest: digestOf(encoded), bytes: encoded.length } };
}
