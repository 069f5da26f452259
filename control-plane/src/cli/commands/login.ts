import { Command } from 'commander';
import { connect } from '../client.js';
import { saveCredentials } from '../credentials.js';
import { CliError } from '../errors.js';
import { readText } from '../files.js';
import type { Session } from '../program.js';

export interface WhoAmI {
  readonly name: string;
  readonly role: string;
}

export const loginCommand = ({ terminal, answer }: Session): Command =>
  new Command('login')
    .description('Check a token and save it with the address of its control plane (readable by you only).')
    .argument('<url>', 'address of the control plane')
    .option('--ca <file>', 'certificate of the authority that it proves itself by, for an https address')
    .option('--token <token>', 'the access token; asked for if left out (or DROVER_TOKEN)')
    .addHelpText('after', '\nExample:\n  drover login http://localhost:7070 --token drover_…')
    .action(async (url: string, options: { token?: string; ca?: string }) => {
      const token = options.token ?? terminal.environment['DROVER_TOKEN'] ?? (await askForToken());
      const ca = options.ca === undefined ? undefined : readText(options.ca);
      const client = connect(url, token, ca);
      const who = await client.get<WhoAmI>('/whoami');
      const file = saveCredentials(terminal, { url: client.url, token, ...(ca === undefined ? {} : { ca }) });
      answer(
        { url: client.url, ...who, file },
        `Logged in to ${client.url} as "${who.name}" (${who.role}). Saved in ${file}.`,
      );

      async function askForToken(): Promise<string> {
        if (terminal.interactive) return (await terminal.ask('Access token: ')).trim();
        throw new CliError('CLI_USAGE', 'No token was given, and there is nobody to ask.', {
          remedy: 'Add --token TOKEN or set DROVER_TOKEN.',
        });
      }
    });
