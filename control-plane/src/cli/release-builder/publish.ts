import { signaturesMissing, type MissingSignatures, type Proposal } from '@drover/shared/trust/ceremony';
import { developmentSigner } from '../ceremony/development.js';
import { openSigners } from '../ceremony/key-files.js';
import { findRepository } from '../ceremony/known-repository.js';
import { isComplete, publishProposal, signProposal, writeProposal } from '../ceremony/proposal-file.js';
import { proposeDevelopmentRelease, proposeRelease, type SignableRelease } from '../ceremony/release-proposal.js';
import type { Client } from '../client.js';
import { RemoteError } from '../errors.js';
import type { Terminal } from '../terminal.js';

export interface SigningOptions {
  /** Key files; the development key where none is named. */
  readonly keys: readonly string[] | undefined;
  readonly passphraseFile: string | undefined;
  readonly expiresMs: number;
  /** Where the file goes that others have to sign. */
  readonly proposalFile: string | undefined;
}

export type Signed =
  | { readonly published: true; readonly begun: boolean }
  | { readonly published: false; readonly file: string; readonly missing: readonly MissingSignatures[] };

/** Somebody else may publish a version of the role between reading and writing it. */
const ATTEMPTS = 4;

/**
 * Lists an uploaded release in its model's role and signs it. Published at once where the keys suffice, else a file for those who sign next.
 *
 * @throws CliError, TrustError, RepositoryError; RemoteError
 */
export async function signRelease(
  client: Client,
  terminal: Terminal,
  release: SignableRelease,
  options: SigningOptions,
): Promise<Signed> {
  const { keys, passphraseFile, expiresMs, proposalFile } = options;
  const known = await findRepository(client, terminal.interrupted);
  const signers = keys ? await openSigners(terminal, keys, passphraseFile) : [await developmentSigner(terminal, known)];
  const [first] = signers;
  const draft = async (): Promise<Proposal> => {
    const now = await findRepository(client, terminal.interrupted);
    const expiresAtMs = Date.now() + expiresMs;
    return keys || !first
      ? proposeRelease(now, release, expiresAtMs)
      : proposeDevelopmentRelease(client, now, release, { signer: first, expiresAtMs });
  };
  for (let attempt = 1; ; attempt++) {
    const proposal = signProposal(await draft(), signers);
    if (!isComplete(proposal)) {
      const { model, version } = release.manifest;
      const file = proposalFile ?? `${model}-${version}.proposal.json`;
      writeProposal(file, proposal, { replace: false });
      return { published: false, file, missing: signaturesMissing(proposal) };
    }
    try {
      await publishProposal(client, proposal);
      return { published: true, begun: known === undefined };
    } catch (error) {
      const isRaced = error instanceof RemoteError && error.code === 'REPOSITORY_VERSION_WRONG';
      if (!isRaced || attempt === ATTEMPTS) throw error;
    }
  }
}
