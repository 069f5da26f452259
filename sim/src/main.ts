#!/usr/bin/env node
import { InvalidArgumentError, Command, CommanderError, Option } from 'commander';
import { formatCodedError, toCodedErrorJson } from '@drover/shared/coded-error';
import type { Sabotage } from './scenarios/release-story/scene.js';

interface StoryFlags {
  readonly once?: true;
  readonly json?: true;
  readonly seed: number;
  readonly devices: number;
  readonly data?: string;
  readonly sabotage?: Sabotage;
  readonly only?: readonly number[];
  readonly port: number;
  readonly mqttPort: number;
}

const integer = (text: string): number => {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0)
    throw new InvalidArgumentError('It must be a whole number, 0 or more.');
  return value;
};

async function story(flags: StoryFlags): Promise<number> {
  const { tellStory } = await import('./scenarios/release-story/telling.js');
  const stopped = new AbortController();
  const stop = (): void => stopped.abort(new Error('You stopped the story.'));
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  return tellStory({
    ...flags,
    once: flags.once === true,
    json: flags.json === true,
    signal: stopped.signal,
    write: (text) => process.stdout.write(text),
  });
}

async function main(): Promise<number> {
  let status = 0;
  const program = new Command('drover-sim').description('Runs simulated fleets of the real agent code.').exitOverride();
  program
    .command('story', { isDefault: true })
    .description('The whole story of a release, from training to a good release on every device.')
    .option('--once', 'exit when the story is over: 0 only if every step held')
    .option('--json', 'print the result as one JSON object on the last line')
    .option('--seed <n>', 'makes the world repeatable', integer, 1)
    .option('--devices <n>', 'simulated devices, beside one agent process', integer, 20)
    .option('--data <folder>', 'play on the real gas-sensor-drift data')
    .option('--port <n>', 'port of the control plane; 0 lets the system choose', integer, 7070)
    .option('--mqtt-port <n>', 'port of its broker; 0 lets the system choose', integer, 1883)
    .addOption(
      new Option('--only <steps>', 'play these steps alone').argParser((text: string) => text.split(',').map(integer)),
    )
    .addOption(
      new Option('--sabotage <step>', 'break a step on purpose, to see that the story notices').choices([
        'rollout',
        'drift',
        'fine-tune',
        'bad-release',
        'refusals',
      ]),
    )
    .addHelpText('after', '\nExample: npm start -- --once --json --seed 7')
    .action(async (flags: StoryFlags) => {
      status = await story(flags);
    });
  try {
    await program.parseAsync(process.argv);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    throw error;
  }
  return status;
}

main().then(
  (status) => process.exit(status),
  (error: unknown) => {
    process.stderr.write(`${formatCodedError(toCodedErrorJson(error))}\n`);
    process.exit(1);
  },
);
