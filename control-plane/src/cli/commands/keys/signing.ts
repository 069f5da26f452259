import { existsSync, writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { signaturesMissing } from '@drover/shared/trust/ceremony';
import { encodeMetadata } from '@drover/shared/trust/tuf';
import type { RepositoryState } from '../../../release-repository/index.js';
import { describeProposal } from '../../ceremony/describe.js';
import { openSigners } from '../../ceremony/key-files.js';
import { unwritable } from '../../files.js';
import { controlPlaneMetadata, requireFile } from '../../release-metadata/source.js';
import {
  isComplete,
  publishProposal,
  readProposal,
  signProposal,
  writeProposal,
} from '../../ceremony/proposal-file.js';
import { CliError } from '../../errors.js';
import type { Session } from '../../program.js';
import { formatTable, formatTime, requireConsent } from '../../terminal.js';
import { collectText } from '../../units.js';
import { nextStep } from './finish.js';

interface SignOptions {
  readonly key: readonly string[];
  readonly out?: string;
  readonly passphraseFile?: string;
  readonly yes?: boolean;
}

export const signCommand = ({ terminal, answer }: Session): Command =>
  new Command('sign')
    .description('Read a file of documents, say what it would decide, and sign it. Needs no network.')
    .argument('<file>', 'what a ceremony or `drover model publish` wrote')
    .requiredOption('--key <file>', 'key to sign with; may be repeated', collectText)
    .option('--out <file>', 'where to write it (default: the same file)')
    .option('--passphrase-file <file>', 'file that holds the passphrase of the keys')
    .option('--yes', 'do not ask')
    .addHelpText('after', '\nExample:\n  drover keys sign first.json --key alice.key')
    .action(async (file: string, { key, out = file, passphraseFile, yes = false }: SignOptions) => {
      const proposal = readProposal(file);
      // The key alone is no consent: somebody else made the file.
      if (terminal.interactive)
        await requireConsent(terminal, yes, `${describeProposal(proposal, Date.now())}\n\nYou are about to sign this.`);
      const signed = signProposal(proposal, await openSigners(terminal, key, passphraseFile));
      writeProposal(out, signed, { replace: out === file });
      answer(
        { file: out, complete: isComplete(signed), missing: signaturesMissing(signed) },
        `${describeProposal(signed, Date.now())}\n\nSigned: ${out}. Next: ${nextStep(signed, out)}`,
      );
    });

export const publishCommand = ({ client, answer }: Session): Command =>
  new Command('publish')
    .description('Give a file of signed documents to the control plane, which checks it and serves it to devices.')
    .argument('<file>')
    .addHelpText('after', '\nExample:\n  drover keys publish first.json')
    .action(async (file: string) => {
      const published = await publishProposal(client(), readProposal(file));
      answer(
        { published },
        `Published ${published.map(({ role, version }) => `${role} version ${version}`).join(', ')}.`,
      );
    });

export const showCommand = ({ client, answer }: Session): Command =>
  new Command('show')
    .description(
      'Show the roles of the repository: who holds them, and for how long they hold. Or what a file would decide.',
    )
    .argument('[file]', 'a file of documents to sign; needs no network')
    .addHelpText('after', '\nExamples:\n  drover keys show\n  drover keys show first.json')
    .action(async (file: string | undefined) => {
      if (file !== undefined) {
        const proposal = readProposal(file);
        const missing = signaturesMissing(proposal);
        answer(
          {
            complete: isComplete(proposal),
            missing,
            documents: proposal.documents.map(({ role, signed }) => ({ role, signed })),
          },
          describeProposal(proposal, Date.now()),
        );
        return;
      }
      const state = await client().get<RepositoryState>('/repository');
      answer(state, describeState(state));
    });

function describeState({ exists, development, roles, waiting, problems }: RepositoryState): string {
  const told = problems.map(({ code, what, remedy }) => `${code}: ${what}\n  do:    ${remedy}`);
  if (!exists) return told.join('\n');
  const rows = roles.map(({ role, version, expiresAt, secondsLeft, condition, threshold, keyIds }) => [
    role,
    version,
    `${threshold} of ${keyIds.length}`,
    formatTime(expiresAt),
    Math.floor(secondsLeft / 86_400),
    condition,
    keyIds.map((keyId) => keyId.slice(0, 12)).join(' '),
  ]);
  return [
    formatTable(['ROLE', 'VERSION', 'SIGNATURES', 'EXPIRES (UTC)', 'DAYS LEFT', 'CONDITION', 'KEYS'], rows),
    ...(waiting.length === 0 ? [] : [`Delegated, nothing published yet: ${waiting.join(', ')}`]),
    ...(development
      ? ['DEVELOPMENT KEYS sign for this repository: for trials only. Real ones: `drover keys rotate --help`.']
      : []),
    ...told,
  ].join('\n');
}

export const exportCommand = ({ client, answer, terminal }: Session): Command =>
  new Command('export')
    .description(
      'Write the root that devices are given when they are installed. It decides whom they believe: carry it by hand.',
    )
    .argument('<file>', 'where to write root.json; an existing file is not overwritten')
    .option('--from <file>', 'take the root out of this signed file, so that nobody in between has to be trusted')
    .addHelpText('after', '\nExample:\n  drover keys export root.json --from first.json')
    .action(async (out: string, { from }: { from?: string }) => {
      const root =
        from === undefined
          ? await requireFile(controlPlaneMetadata(client()), 'root', 'root.json', terminal.interrupted)
          : rootOf(from);
      if (existsSync(out)) {
        throw new CliError('CLI_FILE_EXISTS', 'There is a file of this name already.', {
          where: out,
          remedy: 'Name another, or remove it.',
        });
      }
      try {
        writeFileSync(out, encodeMetadata(root), { flag: 'wx' });
      } catch (cause) {
        throw unwritable(out, cause);
      }
      answer(
        { file: out, version: root.signed.version },
        `Root version ${root.signed.version} written to ${out}. Devices: drover-agent enrol --root ${out} …`,
      );
    });

function rootOf(file: string) {
  const proposal = readProposal(file);
  const found = proposal.documents.flatMap(({ role, signed, signatures }) =>
    role === 'root' && signed._type === 'root' ? [{ signed, signatures }] : [],
  )[0];
  if (found && signaturesMissing(proposal).every(({ role, missing }) => role !== 'root' || missing === 0)) return found;
  throw new CliError(
    'CLI_SIGNATURES_MISSING',
    found ? 'The root in this file is not signed by enough keys yet.' : 'There is no root in this file.',
    {
      where: file,
      remedy: 'Take the signed file of `drover keys init` or `rotate root`.',
    },
  );
}
