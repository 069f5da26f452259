import type { Command } from 'commander';
import type { AssembledRelease } from '@drover/shared/release';
import type { SignableRelease } from '../ceremony/release-proposal.js';
import type { Client } from '../client.js';
import type { Session } from '../program.js';
import type { Signed } from '../release-builder/publish.js';
import { collectText, parseDuration } from '../units.js';

/** Who signs the list of releases, whatever is published. */
export interface SignersGiven {
  readonly key?: readonly string[];
  readonly passphraseFile?: string;
  readonly expires: number;
  readonly proposal?: string;
}

/** @param list what the keys sign, for the help of --expires */
export const withSigners = (command: Command, list: string): Command =>
  command
    .option(
      '--key <file>',
      'signing key; may be repeated (default: an unprotected development key, for trials)',
      collectText,
    )
    .option('--passphrase-file <file>', 'file that holds the passphrase of the keys')
    .option('--expires <duration>', `how long ${list} holds`, parseDuration, parseDuration('365d'))
    .option('--proposal <file>', 'where the keys given do not suffice: file for the others to sign');

export interface ReleaseToPublish {
  readonly client: Client;
  readonly release: SignableRelease & Pick<AssembledRelease, 'files'>;
  readonly signers: SignersGiven;
}

/** The files, then the list that names them. @throws CliError, TrustError, RepositoryError; RemoteError */
export async function uploadAndSign(
  { terminal, progress }: Session,
  { client, release, signers }: ReleaseToPublish,
): Promise<Signed> {
  const { uploadFiles } = await import('../release-builder/upload.js');
  const { signRelease } = await import('../release-builder/publish.js');
  await uploadFiles(client, release, { signal: terminal.interrupted, progress });
  return signRelease(client, terminal, release, {
    keys: signers.key,
    passphraseFile: signers.passphraseFile,
    expiresMs: signers.expires,
    proposalFile: signers.proposal,
  });
}
