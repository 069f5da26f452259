import { Command } from 'commander';
import { publicKeysOf } from '@drover/shared/trust/key-file';
import { createKeyFile, readKeyFile, warnOfDevelopmentKey } from '../../ceremony/key-files.js';
import type { Session } from '../../program.js';

interface CreateOptions {
  readonly out: string;
  readonly name?: string;
  readonly passphraseFile?: string;
  readonly development?: boolean;
}

export const createCommand = ({ answer, terminal }: Session): Command =>
  new Command('create')
    .description('Make a signing key, sealed under a passphrase, in a new file that only you can read.')
    .requiredOption('--out <file>', 'where to write it; an existing file is never overwritten')
    .option('--name <name>', 'a name for people')
    .option('--passphrase-file <file>', 'file that holds the passphrase (else DROVER_KEY_PASSPHRASE, else asked for)')
    .option('--development', 'leave the key unprotected: for trials only')
    .addHelpText('after', '\nExample:\n  drover keys create --out alice.key --name "Alice, release engineering"')
    .action(async ({ out, name, passphraseFile, development = false }: CreateOptions) => {
      const key = await createKeyFile(terminal, {
        file: out,
        development,
        ...(name === undefined ? {} : { name }),
        ...(passphraseFile === undefined ? {} : { passphraseFile }),
      });
      if (development) warnOfDevelopmentKey(terminal, out);
      answer(
        { keyId: key.keyId, file: out, sealed: !development },
        `Key ${key.keyId}\nwritten to ${out}. Keep it offline, and keep a copy: it cannot be made again.${development ? '' : ' Nobody can recover the passphrase.'}`,
      );
    });

export const publicCommand = ({ terminal }: Session): Command =>
  new Command('public')
    .description('Print the public halves of key files; needs no passphrase. Redirect it to a file for a ceremony.')
    .argument('<file...>', 'key files')
    .addHelpText('after', '\nExample:\n  drover keys public alice.key > alice.public.json')
    .action((files: string[]) => {
      terminal.out(JSON.stringify(publicKeysOf(files.map(readKeyFile)), undefined, 2));
    });
