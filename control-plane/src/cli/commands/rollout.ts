import { Command, Option } from 'commander';
import { ModelName } from '@drover/shared/ids';
import { kindOf } from '@drover/shared/manifest';
import { readJson } from '../files.js';
import type { Session } from '../program.js';
import { buildRolloutRequest, type RolloutOptions } from '../rollout-request.js';
import { formatTable, formatTime, requireConsent } from '../terminal.js';
import { collectPair, collectText, parseCount, parseDuration, parseReleaseName, parseStages } from '../units.js';
import { watchRollout, type RolloutView } from '../watch-rollout.js';

interface CreateOptions extends Omit<RolloutOptions, 'judge'> {
  readonly judge?: RolloutOptions['judge'];
  readonly gate?: string;
  readonly probation?: string;
}

const path = (id: string) => `/rollouts/${encodeURIComponent(id)}`;

export const rolloutCommands = ({ client, answer, terminal, options: globals }: Session): Command => {
  const rollout = new Command('rollout').description('Staged rollouts of a release to devices.');

  rollout
    .command('create')
    .description('Begin to roll a release out, stage by stage, each behind a gate on accuracy and failures.')
    .argument('<model@version>')
    .option('--selector <name=value>', 'only devices with this attribute; may be repeated (default: all)', collectPair)
    .option('--device <id>', 'only this device; may be repeated', collectText)
    .option('--stages <stages>', 'cumulative counts or shares', parseStages, parseStages('canary:3,half:50%,all:100%'))
    .option('--gate <file>', 'JSON file with keys of the gate that differ from the defaults')
    .option('--probation <file>', 'JSON file with keys of the probation that differ from the defaults')
    .addOption(
      new Option(
        '--judge <metric>',
        'what a stage is judged by: accuracy and failures, or failures alone (no labels needed)',
      )
        .choices(['accuracy', 'failures'])
        .default(undefined, 'accuracy; failures for the agent and for parameters, which have none'),
    )
    .option('--soak <duration>', 'least time that a stage is watched', parseDuration)
    .option('--timeout <duration>', 'time after which a stage without a verdict halts', parseDuration)
    .option(
      '--without-parameters',
      'of a model: devices whose parameters are not for this release may go on without them',
    )
    .option('--no-auto-revert', 'when a stage fails, halt only: do not send its devices back')
    .addHelpText(
      'after',
      '\nExample:\n  drover rollout create gas-classifier@1.1.0 --selector site=lab --stages canary:3,half:50%,all:100%',
    )
    .action(async (name: string, options: CreateOptions) => {
      const { gate, probation, judge, ...rest } = options;
      const release = parseReleaseName(name);
      const metric = judge ?? (kindOf(ModelName(release.model)) === 'model' ? 'accuracy' : 'failures');
      const request = buildRolloutRequest(
        release,
        { ...rest, judge: metric },
        {
          gate: gate === undefined ? {} : readJson(gate),
          probation: probation === undefined ? {} : readJson(probation),
        },
      );
      const created = await client().send<RolloutView>('POST', '/rollouts', request);
      answer(created, `${created.id}\nWatch it with: drover rollout watch ${created.id}`);
    });

  rollout
    .command('list')
    .description('List the rollouts, newest last.')
    .addHelpText('after', '\nExample:\n  drover rollout list')
    .action(async () => {
      const list = await client().get<{ items: RolloutView[] }>('/rollouts');
      const rows = list.items.map(({ id, model, release, state, createdAt }) => [
        id,
        `${model}@${release.version}`,
        state,
        formatTime(createdAt),
      ]);
      answer(list, formatTable(['ROLLOUT', 'RELEASE', 'STATE', 'CREATED (UTC)'], rows));
    });

  rollout
    .command('show')
    .description('Show one rollout: stages, devices, verdicts.')
    .argument('<id>')
    .addHelpText('after', '\nExample:\n  drover rollout show 1b4e28ba-…')
    .action(async (id: string) => {
      const found = await client().get(path(id));
      answer(found, JSON.stringify(found, undefined, 2));
    });

  rollout
    .command('watch')
    .description('Print what happens until the rollout ends. Exits 0 only if it completed.')
    .argument('<id>')
    .option('--interval <duration>', 'how often to look', parseDuration, 1000)
    .addHelpText('after', '\nExample:\n  drover rollout watch 1b4e28ba-…')
    .action(async (id: string, { interval }: { interval: number }) => {
      await watchRollout({ client: client(), terminal, id, intervalMs: interval, json: globals().json === true });
    });

  for (const verb of ['pause', 'resume'] as const) {
    rollout
      .command(verb)
      .description(verb === 'pause' ? 'Send no further orders; devices keep what they have.' : 'Go on after a pause.')
      .argument('<id>')
      .addHelpText('after', `\nExample:\n  drover rollout ${verb} 1b4e28ba-…`)
      .action(async (id: string) => {
        const changed = await client().send<RolloutView>('POST', `${path(id)}/${verb}`);
        answer(changed, `The rollout is ${changed.state}.`);
      });
  }

  rollout
    .command('abort')
    .description('End a rollout for good; with --revert, send its devices back to what they had.')
    .argument('<id>')
    .requiredOption('--reason <text>', 'why; goes to the audit log and into the signed orders')
    .option('--revert', 'send the devices back')
    .option('--yes', 'do not ask')
    .addHelpText('after', '\nExample:\n  drover rollout abort 1b4e28ba-… --revert --reason "wrong labels" --yes')
    .action(
      async (
        id: string,
        { reason, revert = false, yes = false }: { reason: string; revert?: boolean; yes?: boolean },
      ) => {
        if (revert)
          await requireConsent(
            terminal,
            yes,
            'Every device that got this release is sent back to the one it had before.',
          );
        const changed = await client().send<RolloutView>('POST', `${path(id)}/abort`, { reason, revert });
        answer(changed, `The rollout is ${changed.state}.`);
      },
    );

  rollout
    .command('events')
    .description('List what happened in a rollout and why.')
    .argument('<id>')
    .option('--after <number>', 'only events after this one', parseCount, 0)
    .addHelpText('after', '\nExample:\n  drover rollout events 1b4e28ba-…')
    .action(async (id: string, { after }: { after: number }) => {
      const list = await client().get<{ items: { at: number; kind: string; message: string }[] }>(
        `${path(id)}/events?after=${after}`,
      );
      const rows = list.items.map(({ at, kind, message }) => [formatTime(at), kind, message]);
      answer(list, formatTable(['TIME (UTC)', 'KIND', 'WHAT'], rows));
    });
  return rollout;
};
