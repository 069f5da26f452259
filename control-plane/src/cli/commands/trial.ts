import { Command, Option } from 'commander';
import type { Session } from '../program.js';
import { formatTable, formatTime } from '../terminal.js';
import { collectPair, collectText, parseDuration, parseReleaseName, parseShare, parseTolerance } from '../units.js';

interface StartOptions {
  readonly mode: string;
  readonly share: number;
  readonly for: number;
  readonly tolerance?: object;
  readonly selector?: Readonly<Record<string, string>>;
  readonly device?: readonly string[];
}

interface Comparison {
  readonly outcomes: Readonly<Record<'compared' | 'answered' | 'left' | 'failed' | 'dropped', number>>;
  readonly agreement?: { readonly measure: string; readonly mean: number; readonly lowest: number };
  readonly latencyRatio?: number;
  readonly classShift?: number;
  readonly valueShift?: number;
}

interface TrialView {
  readonly id: string;
  readonly model: string;
  readonly release: { readonly version: string };
  readonly mode: string;
  readonly share: number;
  readonly state: string;
  readonly until: number;
}

interface TrialDetails extends TrialView {
  readonly comparison: Comparison;
  readonly members: readonly {
    readonly device: string;
    readonly state: string;
    readonly error?: { readonly code: string };
    readonly comparison?: Comparison;
  }[];
}

const path = (id: string) => `/trials/${encodeURIComponent(id)}`;

export const trialCommands = ({ client, answer }: Session): Command => {
  const trial = new Command('trial').description('Trying a release on devices beside the one that serves there.');

  trial
    .command('start')
    .description(
      'Compare a release with the one that serves (shadow), or let it answer a share of the requests (split).',
    )
    .argument('<model@version>')
    .addOption(
      new Option('--mode <mode>', 'shadow: no answer depends on it; split: it answers its share')
        .choices(['shadow', 'split'])
        .makeOptionMandatory(),
    )
    .addOption(new Option('--share <share>', 'of the requests').argParser(parseShare).default(0.1, '10%'))
    .addOption(
      new Option('--for <duration>', 'it ends by itself after that time')
        .argParser(parseDuration)
        .default(2 * 3_600_000, '2h'),
    )
    .option(
      '--tolerance <absolute,relative>',
      'of a shadow: values that differ by no more count as equal (default: 0.01,0.05)',
      parseTolerance,
    )
    .option('--selector <name=value>', 'only devices with this attribute; may be repeated (default: all)', collectPair)
    .option('--device <id>', 'only this device; may be repeated', collectText)
    .addHelpText(
      'after',
      '\nExample:\n  drover trial start gas-classifier@1.1.0 --mode shadow --share 10% --for 2h --selector site=lab',
    )
    .action(async (name: string, { mode, share, for: durationMs, tolerance, selector, device }: StartOptions) => {
      const conditions = { ...(device && { devices: device }), ...(selector && { attributes: selector }) };
      const started = await client().send<TrialDetails>('POST', '/trials', {
        ...parseReleaseName(name),
        mode,
        share,
        durationMs,
        ...(tolerance && { tolerance }),
        selector: Object.keys(conditions).length === 0 ? { all: true } : conditions,
      });
      answer(
        started,
        `${started.id}\n${started.members.length} devices, until ${formatTime(started.until)}. See what is found: drover trial show ${started.id}`,
      );
    });

  trial
    .command('list')
    .description('List the trials, newest first.')
    .addHelpText('after', '\nExample:\n  drover trial list')
    .action(async () => {
      const list = await client().get<{ items: TrialView[] }>('/trials');
      const rows = list.items.map(({ id, model, release, mode, share, state, until }) => [
        id,
        `${model}@${release.version}`,
        `${mode} ${toPercent(share)}`,
        state,
        formatTime(until),
      ]);
      answer(list, formatTable(['TRIAL', 'RELEASE', 'MODE', 'STATE', 'UNTIL (UTC)'], rows));
    });

  trial
    .command('show')
    .description('Show how far a release agrees with the one that serves, on each device and in all.')
    .argument('<id>')
    .addHelpText('after', '\nExample:\n  drover trial show 1b4e28ba-…')
    .action(async (id: string) => {
      const found = await client().get<TrialDetails>(path(id));
      const { model, release, mode, share, state, until } = found;
      const head = `${model}@${release.version}, ${mode} ${toPercent(share)}, ${state}, until ${formatTime(until)}`;
      const rows = [
        ...found.members.map(({ device, state: standing, error, comparison }) => [
          device,
          error ? `${standing} (${error.code})` : standing,
          ...cells(comparison),
        ]),
        ['all', '', ...cells(found.comparison)],
      ];
      answer(found, `${head}\n${formatTable(COLUMNS, rows)}`);
    });

  trial
    .command('end')
    .description('End a trial before its time. What serves goes on serving.')
    .argument('<id>')
    .addHelpText('after', '\nExample:\n  drover trial end 1b4e28ba-…')
    .action(async (id: string) => {
      const ended = await client().send<TrialDetails>('POST', `${path(id)}/end`);
      answer(ended, 'The trial is over; devices that are away end it when they come back, or by its time.');
    });
  return trial;
};

const COLUMNS = ['DEVICE', 'STATE', 'COMPARED', 'ANSWERED', 'FAILED', 'DROPPED', 'AGREEMENT', 'LATENCY', 'SHIFT'];

function cells(comparison: Comparison | undefined): string[] {
  if (!comparison) return ['-', '-', '-', '-', '-', '-', '-'];
  const { outcomes, agreement, latencyRatio, classShift, valueShift } = comparison;
  const shift = classShift ?? valueShift;
  return [
    ...(['compared', 'answered', 'failed', 'dropped'] as const).map((outcome) => String(outcomes[outcome])),
    agreement ? `${toPercent(agreement.mean)} ${agreement.measure}` : '-',
    latencyRatio === undefined ? '-' : `× ${latencyRatio.toFixed(2)}`,
    shift === undefined ? '-' : toPercent(shift),
  ];
}

const toPercent = (share: number): string => `${Number((share * 100).toFixed(1))} %`;
