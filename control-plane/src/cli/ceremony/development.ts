import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { credentialsFile } from '../credentials.js';
import { CliError } from '../errors.js';
import type { Terminal } from '../terminal.js';
import { createKeyFile, openSigners, type NamedSigner } from './key-files.js';
import type { KnownRepository } from './known-repository.js';

/** One key for all trials of this user, beside the credentials. */
export const developmentKeyFile = (terminal: Terminal): string =>
  join(dirname(credentialsFile(terminal)), 'development.key');

/**
 * Who signs when no key was named: the development key, which is made where there is no repository yet. A repository that people hold is never signed
 * for in passing.
 *
 * @throws CliError CLI_USAGE
 */
export async function developmentSigner(terminal: Terminal, known: KnownRepository | undefined): Promise<NamedSigner> {
  const file = developmentKeyFile(terminal);
  if (known && !(known.development && existsSync(file))) {
    throw new CliError('CLI_USAGE', 'Which key is to sign? --key was not given.', {
      remedy: known.development
        ? `This repository was begun with the development key of another user or machine (there is no ${file}): publish from there, or name the key with --key.`
        : 'Name it with --key; `drover keys show` lists who may sign for the model.',
    });
  }
  if (!existsSync(file)) {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    await createKeyFile(terminal, { file, name: 'development', development: true });
  }
  const [signer] = await openSigners(terminal, [file], undefined);
  if (!signer) throw new Error(`${file} gave no signer.`);
  return signer;
}
