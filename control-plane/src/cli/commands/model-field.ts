import { Command } from 'commander';
import type { FieldCounts } from '../../telemetry/index.js';
import type { Session } from '../program.js';
import { formatTable } from '../terminal.js';
import { parseDuration } from '../units.js';

export const modelFieldCommand = ({ client, answer }: Session): Command =>
  new Command('field')
    .description('Say what the devices have served with each release, and how well, as far as the truth has come back.')
    .argument('<model>')
    .option('--since <time>', 'only what arrived in this time, such as 24h', parseDuration)
    .addHelpText('after', '\nExample:\n  drover model field gas-classifier --since 24h')
    .action(async (model: string, { since }: { readonly since?: number }) => {
      const query = since === undefined ? '' : `?since=${Date.now() - since}`;
      const list = await client().get<{ items: FieldCounts[] }>(`/models/${encodeURIComponent(model)}/field${query}`);
      answer(list, inWords(list.items));
    });

const HEADINGS = ['RELEASE', 'DEVICES', 'REQUESTS', 'FAILED', 'LABELLED', 'ACCURACY', 'MEAN ERROR', 'OFF BY', 'RMS'];

function inWords(releases: readonly FieldCounts[]): string {
  if (releases.length === 0) return 'No device has reported that it served this model in this time.';
  const rows = releases.map(({ release, devices, requests, failures, labelled, accuracy, errors }) => [
    release.version,
    devices,
    requests,
    failures,
    labelled + (errors?.count ?? 0),
    accuracy === undefined ? undefined : `${(100 * accuracy).toFixed(1)} %`,
    ...[errors?.mean, errors?.meanAbsolute, errors?.rootMeanSquare].map((each) => each?.toPrecision(3)),
  ]);
  return formatTable(HEADINGS, rows);
}
