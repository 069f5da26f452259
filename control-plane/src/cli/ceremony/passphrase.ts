import { CliError } from '../errors.js';
import { readFile } from '../files.js';
import type { Terminal } from '../terminal.js';

export const PASSPHRASE_VARIABLE = 'DROVER_KEY_PASSPHRASE';

/** From --passphrase-file, else the environment, else asked for; a new one is asked for twice. @throws CliError CLI_PASSPHRASE_NEEDED */
export async function passphrase(
  terminal: Terminal,
  what: string,
  { file, isNew = false }: { readonly file?: string | undefined; readonly isNew?: boolean },
): Promise<string> {
  // An editor ends the file with a line break that nobody means.
  if (file !== undefined)
    return readFile(file)
      .toString('utf8')
      .replace(/\r?\n$/, '');
  const variable = terminal.environment[PASSPHRASE_VARIABLE];
  if (variable !== undefined && variable !== '') return variable;
  const needed = (why: string) =>
    new CliError('CLI_PASSPHRASE_NEEDED', why, {
      remedy: `Type it at the prompt, or give it with --passphrase-file or ${PASSPHRASE_VARIABLE}.`,
    });
  if (!terminal.interactive) throw needed(`${what} needs a passphrase, and there is nobody to ask.`);
  const first = await terminal.askSecret(`Passphrase for ${what}: `);
  if (isNew && (await terminal.askSecret('The same again: ')) !== first) throw needed('The two passphrases differ.');
  return first;
}
