import { createKeyPair, type KeyPair, type PublicKey } from '@drover/shared/trust';
import {
  isSealed,
  openKeyFile,
  parseKeyFile,
  parsePublicKeys,
  publicKeysOf,
  sealKey,
  type KeyFile,
} from '@drover/shared/trust/key-file';
import { tufSigner, type TufSigner } from '@drover/shared/trust/tuf';
import { createSecretFile } from '../../secret-file.js';
import { CliError } from '../errors.js';
import { readJson, unwritable } from '../files.js';
import type { Terminal } from '../terminal.js';
import { passphrase } from './passphrase.js';

export interface NamedSigner extends TufSigner {
  readonly file: string;
  /** As key files and `drover keys` show it. */
  readonly shownId: string;
}

export const readKeyFile = (file: string): KeyFile => parseKeyFile(readJson(file));

/** Public halves from files of either kind: keys, sealed or not, and what `drover keys public` prints. */
export function readPublicKeys(files: readonly string[]): (PublicKey & { name?: string })[] {
  return files.flatMap((file) => {
    const json = readJson(file);
    const isPublic = (json as { format?: unknown } | null)?.format === 'drover.public-keys/1';
    return [...(isPublic ? parsePublicKeys(json) : publicKeysOf([parseKeyFile(json)])).keys];
  });
}

/** Opens the keys that are to sign here. One in the clear is used with a warning that nobody can miss. */
export async function openSigners(
  terminal: Terminal,
  files: readonly string[],
  passphraseFile: string | undefined,
): Promise<NamedSigner[]> {
  const signers: NamedSigner[] = [];
  for (const file of files) {
    const pair = await openKey(terminal, file, passphraseFile);
    signers.push({ ...tufSigner(pair), file, shownId: pair.keyId });
  }
  return signers;
}

/** @throws CliError CLI_PASSPHRASE_NEEDED; TrustError KEY_MALFORMED, KEY_PASSPHRASE_WRONG */
export async function openKey(terminal: Terminal, file: string, passphraseFile: string | undefined): Promise<KeyPair> {
  const key = readKeyFile(file);
  if (isSealed(key))
    return openKeyFile(key, await passphrase(terminal, `key ${key.name ?? file}`, { file: passphraseFile }));
  warnOfDevelopmentKey(terminal, file);
  return key;
}

export function warnOfDevelopmentKey(terminal: Terminal, file: string): void {
  terminal.err(
    [
      '*** WARNING: DEVELOPMENT KEY ***',
      `The private key in ${file} is not protected. Whoever copies that file decides what every device of this repository runs.`,
      'Use it for trials. For real keys: `drover keys create --out NAME.key` for each person, then `drover keys init --help`.',
    ].join('\n'),
  );
}

/** Sealed under a passphrase, unless it is for development. Never over an existing file. @throws CliError CLI_FILE_EXISTS, CLI_FILE_UNWRITABLE */
export async function createKeyFile(
  terminal: Terminal,
  {
    file,
    name,
    development,
    passphraseFile,
  }: { file: string; name?: string; development: boolean; passphraseFile?: string },
): Promise<KeyPair> {
  const pair = createKeyPair(name);
  const content = development
    ? pair
    : await sealKey(pair, await passphrase(terminal, 'the new key', { file: passphraseFile, isNew: true }));
  writeSecret(file, `${JSON.stringify(content, undefined, 2)}\n`);
  return pair;
}

function writeSecret(file: string, text: string): void {
  try {
    createSecretFile(file, text);
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'EEXIST')) throw unwritable(file, cause);
    throw new CliError('CLI_FILE_EXISTS', 'There is a file of this name already.', {
      where: file,
      remedy: 'Choose another name; keys are never overwritten.',
      cause,
    });
  }
}
