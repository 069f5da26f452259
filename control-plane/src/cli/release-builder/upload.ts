import { digestHex, type Digest } from '@drover/shared/ids';
import type { AssembledRelease } from '@drover/shared/release';
import type { Client } from '../client.js';

/** Uploads the files that the control plane lacks, and last the manifest that names them. `progress` is told one line per file. */
export async function uploadFiles(
  client: Client,
  { digest: manifestDigest, manifestBytes, files }: Pick<AssembledRelease, 'digest' | 'manifestBytes' | 'files'>,
  progress: (line: string) => void,
): Promise<void> {
  const all: [Digest, Uint8Array][] = [...files, [manifestDigest, manifestBytes]];
  for (const [index, [digest, bytes]] of all.entries()) {
    const hex = digestHex(digest);
    const known = await client.hasBlob(hex);
    if (!known) await client.putBlob(hex, bytes);
    progress(
      `[${index + 1}/${all.length}] ${hex.slice(0, 12)}  ${bytes.length} bytes  ${known ? 'there already' : 'uploaded'}`,
    );
  }
}
