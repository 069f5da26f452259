import { Command } from 'commander';
import type { AuditRecord, AuditVerdict } from '../../governance/index.js';
import { CliError } from '../errors.js';
import type { Session } from '../program.js';
import { formatTable, formatTime } from '../terminal.js';
import { parseCount } from '../units.js';

export const auditCommands = ({ client, answer }: Session): Command => {
  const audit = new Command('audit').description('The append-only log of everything that anybody changed.');

  audit
    .command('list', { isDefault: true })
    .description('List entries, oldest first.')
    .option('--after <sequence>', 'only entries after this one', parseCount, 0)
    .option('--limit <count>', 'at most so many', parseCount, 100)
    .addHelpText('after', '\nExample:\n  drover audit list --after 100')
    .action(async ({ after, limit }: { after: number; limit: number }) => {
      const list = await client().get<{ items: AuditRecord[] }>(`/audit?after=${after}&limit=${limit}`);
      const rows = list.items.map(({ sequence, at, actor, action, subject, detail }) => [
        sequence,
        formatTime(at),
        actor,
        action,
        subject,
        JSON.stringify(detail).slice(0, 80),
      ]);
      answer(list, formatTable(['#', 'TIME (UTC)', 'ACTOR', 'ACTION', 'SUBJECT', 'DETAIL'], rows));
    });

  audit
    .command('verify')
    .description(
      'Recompute the hash chain of the whole log. Note its head somewhere else, to notice a log that was cut off.',
    )
    .addHelpText('after', '\nExample:\n  drover audit verify')
    .action(async () => {
      const verdict = await client().get<AuditVerdict>('/audit/verification');
      if (verdict.intact) {
        answer(verdict, `All ${verdict.entries} entries are intact. Head: ${verdict.head}`);
        return;
      }
      throw new CliError('CLI_AUDIT_BROKEN', `The audit log is broken at entry ${verdict.firstBad}: ${verdict.why}.`, {
        remedy:
          'Somebody changed the database around the control plane. Keep a copy of it and compare it with a backup.',
      });
    });
  return audit;
};
