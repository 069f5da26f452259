import { Command, Option } from 'commander';
import { ROLES } from '../../governance/roles.js';
import type { Session } from '../program.js';
import { formatTable, formatTime, requireConsent } from '../terminal.js';

interface ListedToken {
  readonly id: string;
  readonly name: string;
  readonly role: string;
  readonly createdAt: number;
}

export const tokenCommands = ({ client, answer, terminal }: Session): Command => {
  const token = new Command('token').description('Access tokens of people and programs. Needs the role admin.');

  token
    .command('create')
    .description('Make an access token. It is shown once.')
    .requiredOption('--name <name>', 'whose it is; the audit log shows this name')
    .addOption(new Option('--role <role>', 'what it may do').choices(ROLES).makeOptionMandatory())
    .addHelpText('after', '\nExample:\n  drover token create --name ci --role publisher')
    .action(async (request: { name: string; role: string }) => {
      const created = await client().send<{ token: string }>('POST', '/tokens', request);
      answer(created, created.token);
    });

  token
    .command('list')
    .description('List the access tokens; the tokens themselves are not stored.')
    .addHelpText('after', '\nExample:\n  drover token list')
    .action(async () => {
      const list = await client().get<{ items: ListedToken[] }>('/tokens');
      const rows = list.items.map(({ id, name, role, createdAt }) => [id, name, role, formatTime(createdAt)]);
      answer(list, formatTable(['ID', 'NAME', 'ROLE', 'CREATED (UTC)'], rows));
    });

  token
    .command('delete')
    .description('End an access token at once.')
    .argument('<id>')
    .option('--yes', 'do not ask')
    .addHelpText('after', '\nExample:\n  drover token delete 7f0c… --yes')
    .action(async (id: string, { yes = false }: { yes?: boolean }) => {
      await requireConsent(terminal, yes, `Whoever uses the token ${id} loses access at once.`);
      const removed = await client().send<ListedToken>('DELETE', `/tokens/${encodeURIComponent(id)}`);
      answer(removed, `Deleted the token "${removed.name}" (${removed.role}).`);
    });
  return token;
};
