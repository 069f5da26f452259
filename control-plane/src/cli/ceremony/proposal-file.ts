import { addSignature, parseProposal, signaturesMissing, type Proposal } from '@drover/shared/trust/ceremony';
import type { PublishedRole } from '../../release-repository/index.js';
import type { Client } from '../client.js';
import { CliError } from '../errors.js';
import { readJson, writeJson } from '../files.js';
import type { NamedSigner } from './key-files.js';

export const readProposal = (file: string): Proposal => parseProposal(readJson(file));

export const writeProposal = (file: string, proposal: Proposal, how: { readonly replace: boolean }): void =>
  writeJson(file, proposal, how);

/** @throws CliError CLI_KEY_NOT_ASKED_FOR for a key that none of the documents asks for */
export function signProposal(proposal: Proposal, signers: readonly NamedSigner[]): Proposal {
  return signers.reduce((before, signer) => {
    const { proposal: signed, roles } = addSignature(before, signer);
    if (roles.length > 0) return signed;
    throw new CliError(
      'CLI_KEY_NOT_ASKED_FOR',
      `None of these documents asks for key ${signer.shownId.slice(0, 12)}….`,
      {
        where: signer.file,
        remedy: 'See who has to sign with `drover keys show FILE`, and take the right key.',
      },
    );
  }, proposal);
}

export const isComplete = (proposal: Proposal): boolean =>
  signaturesMissing(proposal).every(({ missing }) => missing === 0);

/** @throws CliError CLI_SIGNATURES_MISSING; RemoteError with the control plane's reasons */
export async function publishProposal(client: Client, proposal: Proposal): Promise<PublishedRole[]> {
  const open = signaturesMissing(proposal).filter(({ missing }) => missing > 0);
  if (open.length > 0) {
    throw new CliError(
      'CLI_SIGNATURES_MISSING',
      open
        .map(({ role, delegator, missing }) => `${role} lacks ${missing} signature(s) by keys of ${delegator}`)
        .join('; '),
      { remedy: 'Let the others sign the file, one after the other: `drover keys sign FILE --key KEY`.' },
    );
  }
  const documents = proposal.documents.map(({ role, signed, signatures }) => ({ role, signed, signatures }));
  const { items } = await client.send<{ items: PublishedRole[] }>('POST', '/repository/publications', { documents });
  return items;
}
