import { Command } from 'commander';
import { BUNDLE_FORMAT, MAX_ENTRIES } from '@drover/shared/bundle';
import type { BundleOrders } from '../../bundles/index.js';
import type { Release } from '../../registry/index.js';
import { releaseWithdrawn } from '../../registry/errors.js';
import type { Client } from '../client.js';
import { CliError } from '../errors.js';
import { byteTeller } from '../progress.js';
import type { Session } from '../program.js';
import { formatBytes, formatTime } from '../terminal.js';
import { collectPair, collectText, parseDuration, parseReleaseName } from '../units.js';

interface ExportOptions {
  readonly out: string;
  readonly device?: readonly string[];
  readonly selector?: Readonly<Record<string, string>>;
  readonly ordersHold: number;
}

const REASONS: Readonly<Record<BundleOrders['withheld'][number]['why'], string>> = {
  'not-ordered': 'no rollout has ordered this release for it; its newest order is for another one, or there is none',
  held: 'its rollout is paused, halted or given up',
  ended: 'it runs this release already, or has refused it or fallen back from it',
  'history-lost': 'it knows orders that this control plane does not (see `drover audit list`, order.history-lost)',
  'not-taken': 'its agent does not know this kind of release, by its last report: update the agent first',
  revoked: 'it is revoked',
};

export const bundleCommands = ({ client, answer, terminal, progress }: Session): Command => {
  const bundle = new Command('bundle').description('Releases in one file, for devices without a network.');

  bundle
    .command('export')
    .description(
      'Write a release, its metadata and, for the devices named, their signed orders into one file. `drover-agent import` takes it in.',
    )
    .argument('<model@version>')
    .requiredOption('--out <file>', 'file to make; nothing is overwritten')
    .option('--device <id>', 'with the order of this device; may be repeated', collectText)
    .option('--selector <name=value>', 'with the orders of devices with this attribute; may be repeated', collectPair)
    .option('--orders-hold <duration>', 'how long the orders in it hold (1h to 7d)', parseDuration, parseDuration('3d'))
    .addHelpText(
      'after',
      '\nExample:\n  drover rollout create gas-classifier@1.1.0 --device pump-7 --stages all:100% --judge failures --timeout 7d' +
        '\n  drover bundle export gas-classifier@1.1.0 --out /media/stick/gas-1.1.0.bundle --device pump-7',
    )
    .action(async (name: string, options: ExportOptions) => {
      const target = client();
      const { model, version } = parseReleaseName(name);
      const path = `/models/${encodeURIComponent(model)}/releases/${encodeURIComponent(version)}`;
      const release = await target.get<Release>(path);
      if (release.withdrawnAt !== undefined) throw releaseWithdrawn(model, version);
      const signal = terminal.interrupted;
      const ordered = await ordersFor(target, { model, version }, options, signal);
      const { entriesOf, metadataParts, orderParts, releaseParts } = await import('../bundle/parts.js');
      const { writeBundle } = await import('../bundle/write.js');
      const { parts: metadata, freshUntilMs } = await metadataParts(target, model, signal);
      const hardware = [...new Set(ordered.orders.map(({ hardwareClass }) => hardwareClass))];
      const parts = [...metadata, ...orderParts(ordered), ...(await releaseParts(target, release, hardware, signal))];
      if (parts.length > MAX_ENTRIES) {
        throw new CliError(
          'CLI_USAGE',
          `This bundle would have ${parts.length} entries; devices take ${MAX_ENTRIES}.`,
          {
            remedy: 'Export several, each for a part of the devices.',
          },
        );
      }
      const written = await writeBundle({
        file: options.out,
        contents: {
          format: BUNDLE_FORMAT,
          createdAt: Date.now(),
          release: { model: release.manifest.model, version: release.manifest.version, digest: release.digest },
          entries: entriesOf(parts),
        },
        parts,
        onProgress: byteTeller(progress, 'written'),
        signal,
      });
      const ordersUntil = ordered.orders.length === 0 ? undefined : Math.min(...ordered.orders.map((o) => o.expiresAt));
      const devices = ordered.orders.map(({ deviceId }) => deviceId);
      answer(
        {
          file: options.out,
          ...written,
          release: name,
          devices,
          withheld: ordered.withheld,
          metadataUntil: freshUntilMs,
          ordersUntil,
        },
        [
          `${options.out}: ${formatBytes(written.bytes)}, ${written.digest}`,
          `  ${name}, ${parts.length} entries; metadata fresh until ${formatTime(freshUntilMs)} UTC`,
          devices.length === 0
            ? '  no orders: devices keep it until one comes over the network, and download nothing then'
            : `  orders for ${devices.join(', ')}, until ${formatTime(ordersUntil)} UTC`,
          ...ordered.withheld.map(({ deviceId, why }) => `  no order for ${deviceId}: ${REASONS[why]}`),
          'On the device: drover-agent import FILE. After the earlier of these times a device without a network takes nothing from it: export anew.',
        ].join('\n'),
      );
    });
  return bundle;
};

/** Who is named must get an order; of those whom a selector meets, the others are listed. */
async function ordersFor(
  client: Client,
  release: { readonly model: string; readonly version: string },
  { device, selector, ordersHold }: ExportOptions,
  signal: AbortSignal,
): Promise<BundleOrders> {
  if (device === undefined && selector === undefined) return { orders: [], withheld: [] };
  const answer: BundleOrders = { orders: [], withheld: [] };
  let after: string | undefined;
  do {
    signal.throwIfAborted();
    const { orders, withheld, recovery, next } = await client.send<BundleOrders>('POST', '/bundle-orders', {
      ...release,
      selector: { ...(device && { devices: device }), ...(selector && { attributes: selector }) },
      ttlMs: ordersHold,
      ...(after !== undefined && { after }),
    });
    answer.orders.push(...orders);
    answer.withheld.push(...withheld);
    if (recovery !== undefined) answer.recovery = recovery;
    after = next;
  } while (after !== undefined);
  const known = new Set([...answer.orders, ...answer.withheld].map(({ deviceId }) => deviceId as string));
  const lacking = [
    ...answer.withheld.map(({ deviceId, why }) => `${deviceId}: ${REASONS[why]}`),
    ...(device ?? []).filter((id) => !known.has(id)).map((id) => `${id}: it is not enrolled here`),
  ];
  if (answer.orders.length > 0 && (device === undefined || lacking.length === 0)) return answer;
  throw new CliError(
    'CLI_ORDERS_WITHHELD',
    lacking.length === 0 ? 'The selector meets no device.' : `There is no order to export. ${lacking.join('; ')}.`,
    {
      remedy: `Roll it out to them first: drover rollout create ${release.model}@${release.version} --device ID --stages all:100% …; or export without devices.`,
    },
  );
}
