import { join } from 'node:path';
import { digestHex, digestOf, type Digest } from '@drover/shared/ids';
import { allFiles, parseRelease } from '@drover/shared/manifest';
import { decodeEnvelope } from '@drover/shared/trust';
import type { Published } from '../../registry/index.js';
import type { Client } from '../client.js';
import { CliError } from '../errors.js';
import { readFile } from '../files.js';

export interface SignedRelease {
  readonly envelope: Uint8Array;
  readonly files: ReadonlyMap<Digest, Uint8Array>;
}

/** Uploads what the control plane lacks, then the release itself. `progress` is told one line per file. */
export async function uploadRelease(
  client: Client,
  { envelope, files }: SignedRelease,
  progress: (line: string) => void,
): Promise<Published> {
  let number = 0;
  for (const [digest, bytes] of files) {
    number += 1;
    const hex = digestHex(digest);
    const known = await client.hasBlob(hex);
    if (!known) await client.putBlob(hex, bytes);
    progress(
      `[${number}/${files.size}] ${hex.slice(0, 12)}  ${bytes.length} bytes  ${known ? 'there already' : 'uploaded'}`,
    );
  }
  return client.send<Published>('POST', '/releases', JSON.parse(Buffer.from(envelope).toString('utf8')));
}

/** A release that was signed elsewhere: its files lie in a folder under their manifest paths. @throws CliError CLI_FILE_UNREADABLE */
export function readSignedRelease(envelopeFile: string, folder: string): SignedRelease {
  const envelope = readFile(envelopeFile);
  const manifest = parseRelease(Buffer.from(decodeEnvelope(envelope).payload, 'base64'));
  const files = new Map<Digest, Uint8Array>();
  for (const { path, digest } of allFiles(manifest)) {
    const bytes = readFile(join(folder, path));
    if (digestOf(bytes) !== digest) {
      throw new CliError('CLI_FILE_UNREADABLE', `The file is not the one that was signed (${digest}).`, {
        where: join(folder, path),
        remedy: 'Copy the files of the release again from where it was signed.',
      });
    }
    files.set(digest, bytes);
  }
  return { envelope, files };
}
