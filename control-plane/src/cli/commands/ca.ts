import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { readText } from '../files.js';
import type { Session } from '../program.js';
import { formatTable, formatTime, requireConsent } from '../terminal.js';
import { parseCount } from '../units.js';

interface ListedAuthority {
  readonly number: number;
  readonly state: string;
  readonly pin: string;
  readonly certificate: string;
  readonly createdAt: number;
  readonly expiresAt: number;
  readonly devices: number;
}

const NEXT =
  'Devices learn it at their next connection, by themselves. When `drover ca show` counts none at the old one, or you can wait no longer:\n' +
  '  drover ca retire OLD\nA device that comes back later is let in all the same: it knows the new one by the word of the old one.';

/** Files beside a broker. Written plainly: neither is a secret, and the broker's user has to read them. */
function writeTo(directory: string, files: Readonly<Record<string, string>>, mode = 0o644): string[] {
  mkdirSync(directory, { recursive: true });
  return Object.entries(files).map(([name, text]) => {
    const file = join(directory, name);
    writeFileSync(file, text, { mode });
    return file;
  });
}

export const caCommands = ({ terminal, client, answer }: Session): Command => {
  const ca = new Command('ca').description(
    "The control plane's own certificate authority, by which devices and servers prove themselves.",
  );

  ca.command('show')
    .description('Which authorities there are, and how many devices have a certificate by each.')
    .addHelpText('after', '\nExample:\n  drover ca show')
    .action(async () => {
      const found = await client().get<{ items: ListedAuthority[] }>('/certificate-authorities');
      const rows = found.items.map((each) => [
        each.number,
        each.state,
        each.devices,
        formatTime(each.createdAt),
        formatTime(each.expiresAt),
        each.pin,
      ]);
      answer(found, formatTable(['NUMBER', 'STATE', 'DEVICES', 'MADE (UTC)', 'ENDS (UTC)', 'PIN'], rows));
    });

  ca.command('rotate')
    .description('Make a new authority beside the present one. Nobody has to visit a device.')
    .option('--yes', 'do not ask', false)
    .addHelpText('after', '\nExample:\n  drover ca rotate')
    .action(async ({ yes }: { yes: boolean }) => {
      await requireConsent(terminal, yes, 'A new authority issues from now on, and every device connects anew once.');
      const made = await client().send<ListedAuthority>('POST', '/certificate-authorities');
      answer(made, `Authority ${made.number} issues now.\n${NEXT}`);
    });

  ca.command('retire')
    .description('Believe an older authority no more: certificates by it end, and its key is removed.')
    .argument('<number>', 'as `drover ca show` has it', parseCount)
    .option('--yes', 'do not ask', false)
    .addHelpText('after', '\nExample:\n  drover ca retire 1')
    .action(async (number: number, { yes }: { yes: boolean }) => {
      await requireConsent(terminal, yes, `Certificates by authority ${number} end; its key is removed for good.`);
      const retired = await client().send('POST', `/certificate-authorities/${number}/retirement`, {});
      answer(retired, `Authority ${number} is retired.`);
    });

  ca.command('export')
    .description('What a broker beside the control plane needs: whose clients to believe, and which of them no more.')
    .requiredOption(
      '--out <directory>',
      'ca.crt and revoked.crl are written there; fetch them daily and after a revocation',
    )
    .addHelpText('after', '\nExample:\n  drover ca export --out /etc/mosquitto/drover && systemctl reload mosquitto')
    .action(async ({ out }: { out: string }) => {
      const path = '/certificate-authorities/trust';
      const trust = await client().get<{ authorities: string; revocationLists: string }>(path);
      const files = writeTo(out, { 'ca.crt': trust.authorities, 'revoked.crl': trust.revocationLists });
      answer({ files }, `Written: ${files.join(', ')}.`);
    });

  ca.command('server')
    .description('A server certificate for a broker beside the control plane, from a signing request.')
    .requiredOption('--request <file>', 'PKCS #10, PEM: openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 …')
    .requiredOption('--name <name...>', 'names and addresses by which devices reach the broker')
    .requiredOption('--out <directory>', 'server.crt is written there')
    .option('--days <count>', 'how long it holds', parseCount, 365)
    .addHelpText(
      'after',
      '\nExample:\n  drover ca server --request broker.csr --name broker.plant.example --out /etc/mosquitto/drover',
    )
    .action(async (options: { request: string; name: string[]; out: string; days: number }) => {
      const { chain } = await client().send<{ chain: string }>('POST', '/server-certificates', {
        names: options.name,
        request: readText(options.request),
        days: options.days,
      });
      const [file] = writeTo(options.out, { 'server.crt': chain });
      answer({ file }, `Written: ${file ?? ''}.`);
    });
  return ca;
};
