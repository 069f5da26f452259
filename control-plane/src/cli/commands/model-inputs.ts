import { Command } from 'commander';
import type { ReleaseInputs } from '../../telemetry/index.js';
import type { Session } from '../program.js';
import { formatTable } from '../terminal.js';
import { parseDuration } from '../units.js';

export const modelInputsCommand = ({ client, answer }: Session): Command =>
  new Command('inputs')
    .description('Say how inputs on the devices stand to the contract of each release.')
    .argument('<model>')
    .option('--since <time>', 'only hours of which something arrived in this time, such as 24h', parseDuration)
    .addHelpText('after', '\nExample:\n  drover model inputs gas-classifier --since 24h')
    .action(async (model: string, { since }: { readonly since?: number }) => {
      const query = since === undefined ? '' : `?since=${Date.now() - since}`;
      const list = await client().get<{ items: ReleaseInputs[] }>(
        `/models/${encodeURIComponent(model)}/inputs${query}`,
      );
      answer(list, inWords(list.items));
    });

function inWords(releases: readonly ReleaseInputs[]): string {
  if (releases.length === 0)
    return 'No device has held inputs against a contract: no release has one (drover model publish --contract FILE), or nothing was asked of it.';
  return releases.map(releaseInWords).join('\n\n');
}

function releaseInWords({ release, devices, rows, refusedRequests, rules }: ReleaseInputs): string {
  const summary = `${release.version}: ${rows.toLocaleString('en')} rows on ${devices} devices, ${refusedRequests.toLocaleString('en')} requests refused`;
  if (rules.length === 0) return `${summary}. No rule was broken.`;
  const table = rules.map((rule) => [
    rule.feature === undefined ? rule.input : `${rule.input}/${rule.feature}`,
    rule.says,
    rule.rows,
    `${((100 * rule.rows) / Math.max(1, rows)).toFixed(2)} %`,
    rule.devices,
    rule.windows === 0 ? undefined : `${rule.windowsBelow} of ${rule.windows}`,
    rule.windows === 0 ? undefined : rule.devicesBelow,
  ]);
  const headings = ['INPUT', 'MUST BE', 'ROWS', 'SHARE', 'DEVICES', 'WINDOWS BELOW', 'DEVICES BELOW NOW'];
  return `${summary}\n${formatTable(headings, table)}`;
}
