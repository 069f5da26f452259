import { digestHex, type Digest } from '@drover/shared/ids';
import type { AssembledRelease } from '@drover/shared/release';
import type { Client } from '../client.js';
import { fileLine, type Progress } from '../progress.js';

/** Uploads the files that the control plane lacks, and last the manifest that names them. `progress` is told one line per file. */
export async function uploadFiles(
  client: Client,
  { digest: manifestDigest, manifestBytes, files }: Pick<AssembledRelease, 'digest' | 'manifestBytes' | 'files'>,
  { signal, progress }: { readonly signal: AbortSignal; readonly progress: Progress },
): Promise<void> {
  const all: [Digest, Uint8Array][] = [...files, [manifestDigest, manifestBytes]];
  for (const [index, [digest, content]] of all.entries()) {
    signal.throwIfAborted();
    const hex = digestHex(digest);
    const known = await client.hasBlob(hex, signal);
    if (!known) await client.putBlob(hex, content, signal);
    const told = { at: index + 1, of: all.length, digest, bytes: content.length };
    progress(fileLine(told, known ? 'there already' : 'uploaded'));
  }
}
