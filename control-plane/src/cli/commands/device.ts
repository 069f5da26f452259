import { Command } from 'commander';
import type { Session } from '../program.js';
import { formatTable, formatTime, requireConsent } from '../terminal.js';
import { collectPair, parseCount, parseDuration } from '../units.js';

interface ListedDevice {
  readonly id: string;
  readonly hardwareClass: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly lastSeenAt?: number;
  readonly connected: boolean;
  readonly revoked?: unknown;
  readonly agentVersion: string;
  readonly agentAge: string;
  readonly models?: readonly {
    readonly model: string;
    readonly running?: { readonly release: { readonly version: string } };
    readonly listing?: 'listed' | 'withdrawn' | 'unknown';
  }[];
  readonly repository?: { readonly freshUntil?: number; readonly stale?: { readonly code: string } };
}

interface TokenOptions {
  readonly site?: string;
  readonly attribute?: Record<string, string>;
  readonly ttl: number;
  readonly uses: number;
  readonly device?: string;
}

const formatAttributes = (attributes: Readonly<Record<string, string>>): string =>
  Object.entries(attributes)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');

const formatModels = (device: ListedDevice): string =>
  (device.models ?? [])
    .map(({ model, running, listing }) => {
      const mark = listing === undefined || listing === 'listed' ? '' : ` (${listing})`;
      return `${model}@${running?.release.version ?? 'none'}${mark}`;
    })
    .join(' ');

/** Whether the device can tell that nothing newer was published; agents that are too old do not say. */
const formatRepository = ({ repository }: ListedDevice): string => {
  if (repository?.stale) return `STALE (${repository.stale.code})`;
  return repository?.freshUntil === undefined ? '-' : 'fresh';
};

/** Nothing has to be done about a current one. */
const formatAgent = ({ agentVersion, agentAge }: ListedDevice): string =>
  agentAge === 'current' ? agentVersion : `${agentVersion} (${agentAge})`;

export const deviceCommands = ({ terminal, client, answer }: Session): Command => {
  const device = new Command('device').description('Devices: list them, look at one, let new ones in.');

  device
    .command('list')
    .description('List the enrolled devices.')
    .option('--selector <name=value>', 'only devices with this attribute; may be repeated', collectPair)
    .addHelpText('after', '\nExample:\n  drover device list --selector site=lab')
    .action(async ({ selector = {} }: { selector?: Record<string, string> }) => {
      const query = new URLSearchParams();
      for (const [name, value] of Object.entries(selector)) query.append('attribute', `${name}=${value}`);
      const items: ListedDevice[] = [];
      let after: string | undefined;
      do {
        if (after !== undefined) query.set('after', after);
        const page = await client().get<{ items: ListedDevice[]; next?: string }>(`/devices?${query.toString()}`);
        items.push(...page.items);
        after = page.next;
      } while (after !== undefined);
      const rows = items.map((item) => [
        item.id,
        item.revoked ? 'revoked' : item.connected ? 'connected' : 'away',
        formatTime(item.lastSeenAt),
        item.hardwareClass,
        formatAgent(item),
        formatModels(item),
        formatRepository(item),
        formatAttributes(item.attributes),
      ]);
      answer(
        { items },
        formatTable(
          ['DEVICE', 'LINK', 'LAST SEEN (UTC)', 'HARDWARE', 'AGENT', 'RUNS', 'REPOSITORY', 'ATTRIBUTES'],
          rows,
        ),
      );
    });

  device
    .command('show')
    .description('Show everything that is known about one device.')
    .argument('<id>')
    .addHelpText('after', '\nExample:\n  drover device show cam-01')
    .action(async (id: string) => {
      const found = await client().get(`/devices/${encodeURIComponent(id)}`);
      answer(found, JSON.stringify(found, undefined, 2));
    });

  device
    .command('revoke')
    .description('End what a device may do, for good: its connections are cut, and its key is believed no more.')
    .argument('<id>')
    .requiredOption('--reason <text>', 'stands in the audit log')
    .option('--yes', 'do not ask', false)
    .addHelpText('after', '\nExample:\n  drover device revoke cam-01 --reason "stolen on 3 May"')
    .action(async (id: string, options: { reason: string; yes: boolean }) => {
      await requireConsent(
        terminal,
        options.yes,
        `"${id}" will be cut off; to come back it must enrol with a new key.`,
      );
      const path = `/devices/${encodeURIComponent(id)}/revocation`;
      const revoked = await client().send('POST', path, { reason: options.reason });
      answer(revoked, `"${id}" is revoked. What it serves it goes on serving; nothing of it is believed here.`);
    });

  device
    .command('token')
    .description('Claim tokens: each lets devices enrol for a time.')
    .command('create')
    .description('Make a claim token. It is shown once; give it to the device that shall enrol.')
    .option('--site <site>', 'attribute "site" of the devices that use it')
    .option('--attribute <name=value>', 'further attribute; may be repeated', collectPair)
    .option('--ttl <duration>', 'how long it may be used', parseDuration, parseDuration('1h'))
    .option('--uses <count>', 'how many devices may use it', parseCount, 1)
    .option('--device <id>', 'only the device with this id may use it')
    .addHelpText('after', '\nExample:\n  drover device token create --site lab --ttl 1h')
    .action(async (options: TokenOptions) => {
      const attributes = { ...options.attribute, ...(options.site === undefined ? {} : { site: options.site }) };
      const created = await client().send<{ claimToken: string; expiresAt: number }>('POST', '/claim-tokens', {
        attributes,
        ttlMs: options.ttl,
        uses: options.uses,
        ...(options.device === undefined ? {} : { deviceId: options.device }),
      });
      answer(
        created,
        `${created.claimToken}\nuntil ${formatTime(created.expiresAt)} UTC, for ${options.uses} device(s).`,
      );
    });
  return device;
};
