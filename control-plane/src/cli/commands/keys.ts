import { Command } from 'commander';
import { createKeyPair, parseKeyPair, parseKeySet, publicKeyOf, type KeySet } from '@drover/shared/trust';
import { createSecretFile } from '../../secret-file.js';
import { CliError } from '../errors.js';
import { readJson } from '../files.js';
import type { Session } from '../program.js';
import { formatTable } from '../terminal.js';
import { parseCount } from '../units.js';

/** Publisher keys. Private halves stay in files of the publisher; the control plane sees public keys only. */
export const keyCommands = ({ client, answer, terminal }: Session): Command => {
  const keys = new Command('keys').description('Publisher keys: who may sign releases.');

  keys
    .command('create')
    .description('Make a signing key and write it to a new file that only you can read.')
    .requiredOption('--out <file>', 'where to write it; an existing file is never overwritten')
    .option('--name <name>', 'a name for people')
    .addHelpText('after', '\nExample:\n  drover keys create --out publisher.key --name "release engineering"')
    .action(({ out, name }: { out: string; name?: string }) => {
      const key = createKeyPair(name);
      try {
        createSecretFile(out, `${JSON.stringify(key, undefined, 2)}\n`);
      } catch (cause) {
        if (!(cause instanceof Error && 'code' in cause && cause.code === 'EEXIST')) throw unwritable(out, cause);
        throw new CliError('CLI_FILE_EXISTS', 'There is a file of this name already.', {
          where: out,
          remedy: 'Choose another name; keys are never overwritten.',
          cause,
        });
      }
      answer(
        { keyId: key.keyId, file: out },
        `Key ${key.keyId}\nwritten to ${out}. Keep it offline, and keep a copy: it cannot be made again.`,
      );
    });

  keys
    .command('public')
    .description('Print the set of public keys of these key files; redirect it to a file.')
    .argument('<file...>', 'key files')
    .option('--threshold <count>', 'how many of them must sign a release', parseCount, 1)
    .addHelpText('after', '\nExample:\n  drover keys public publisher.key > publishers.json')
    .action((files: string[], { threshold }: { threshold: number }) => {
      const set = parseKeySet({ threshold, keys: files.map((file) => publicKeyOf(parseKeyPair(readJson(file)))) });
      terminal.out(JSON.stringify(set, undefined, 2));
    });

  keys
    .command('trust')
    .description(
      'Replace the publisher keys of the control plane by this set. Devices pin theirs from a file of their own.',
    )
    .argument('<set>', 'file that `drover keys public` printed')
    .addHelpText('after', '\nExample:\n  drover keys trust publishers.json')
    .action(async (file: string) => {
      const set = parseKeySet(readJson(file));
      await client().send('PUT', '/publisher-keys', set);
      answer(set, `The control plane now takes releases signed by ${set.threshold} of ${set.keys.length} key(s).`);
    });

  keys
    .command('show')
    .description('Show the publisher keys that the control plane trusts.')
    .addHelpText('after', '\nExample:\n  drover keys show')
    .action(async () => {
      const set = await client().get<KeySet>('/publisher-keys');
      const rows = set.keys.map(({ keyId, algorithm }) => [keyId, algorithm]);
      answer(set, `${set.threshold} of these must sign:\n${formatTable(['KEY ID', 'ALGORITHM'], rows)}`);
    });
  return keys;
};

const unwritable = (file: string, cause: unknown) =>
  new CliError(
    'CLI_FILE_UNREADABLE',
    `The file cannot be written: ${cause instanceof Error ? cause.message : String(cause)}.`,
    {
      where: file,
      remedy: 'Check that its folder exists and that you may write there.',
      cause,
    },
  );
