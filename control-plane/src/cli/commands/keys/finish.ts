import type { Command } from 'commander';
import { signaturesMissing, type Proposal } from '@drover/shared/trust/ceremony';
import { describeProposal } from '../../ceremony/describe.js';
import { openSigners } from '../../ceremony/key-files.js';
import { isComplete, publishProposal, signProposal, writeProposal } from '../../ceremony/proposal-file.js';
import type { Session } from '../../program.js';
import { collectText, parseDuration } from '../../units.js';

/** What every ceremony takes. */
export interface DraftOptions {
  readonly out?: string;
  readonly expires: number;
  readonly key?: readonly string[];
  readonly passphraseFile?: string;
  readonly publish?: boolean;
}

export const withDraftOptions = (command: Command): Command =>
  command
    .option('--expires <duration>', 'how long the signed documents hold', parseDuration, parseDuration('365d'))
    .option('--out <file>', 'where to write the file of documents to sign')
    .option('--key <file>', 'sign with this key at once; may be repeated', collectText)
    .option('--passphrase-file <file>', 'file that holds the passphrase of the keys')
    .option('--publish', 'publish at once, if the keys given here suffice');

/** Signs with what was given, then publishes, or writes the file for those who sign next. */
export async function finish(
  session: Session,
  draft: Proposal,
  { out, key = [], passphraseFile, publish = false }: Omit<DraftOptions, 'expires'>,
  defaultName: string,
): Promise<void> {
  const { terminal, answer, client } = session;
  const proposal = signProposal(draft, await openSigners(terminal, key, passphraseFile));
  const description = describeProposal(proposal, Date.now());
  if (publish) {
    const published = await publishProposal(client(), proposal);
    answer({ published }, `${description}\n\nPublished.`);
    return;
  }
  const file = out ?? `${defaultName}.proposal.json`;
  writeProposal(file, proposal, { replace: false });
  answer(
    { file, complete: isComplete(proposal), missing: signaturesMissing(proposal) },
    `${description}\n\nWritten to ${file}. Next: ${nextStep(proposal, file)}`,
  );
}

export const nextStep = (proposal: Proposal, file: string): string =>
  isComplete(proposal)
    ? `drover keys publish ${file}`
    : `give the file to the holders of the open keys, one after the other; each runs: drover keys sign ${file} --key THEIR.key`;
