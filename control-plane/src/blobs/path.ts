import { join } from 'node:path';
import { digestHex, type Digest } from '@drover/shared/ids';

/** `ab/abcd…` below the directory: so that no folder holds all of them. Backups have the same form. */
export function blobPath(directory: string, digest: Digest): string {
  const hex = digestHex(digest);
  return join(directory, hex.slice(0, 2), hex);
}
