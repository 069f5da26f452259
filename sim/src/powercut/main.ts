#!/usr/bin/env node
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { tmpdir } from 'node:os';
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { cutPower, type CutTally, type CutViolation } from './trial/power-cuts.js';
import type { RecordedScenario } from './trial/recorded-update.js';

interface Flags {
  readonly seed: number;
  readonly states?: number;
  readonly samples: number;
  readonly scenario: readonly RecordedScenario[];
  readonly withoutSync: readonly string[];
  readonly maxViolations: number;
  readonly json?: true;
}

const SCENARIOS: readonly RecordedScenario[] = [
  'upgrade',
  'unhealthy',
  'first',
  'way back',
  'superseded in probation',
  'cut off',
];
const PROGRESS_EVERY_MS = 10_000;
const say = (line: string): void => void process.stderr.write(`${line}\n`);

const whole = (text: string): number => {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('It must be a whole number above 0.');
  return value;
};
const collect = (text: string, earlier: readonly string[]): string[] => [...earlier, text];
const scenarios = (text: string): RecordedScenario[] =>
  text.split(',').map((name) => {
    const found = SCENARIOS.find((each) => each === name);
    if (!found) throw new InvalidArgumentError(`It must be of: ${SCENARIOS.join(', ')}.`);
    return found;
  });

const summaryOf = ({ states, bricked, lies, stuck }: CutTally): string =>
  `states=${states} bricked=${bricked} lies=${lies} stuck=${stuck}`;

function tellViolation({ kind, what, scenario, state, trace }: CutViolation): void {
  say(`\n${kind.toUpperCase()}: ${what}`);
  say(`"${scenario}", cut after operation ${state.cut} (${state.fileSystem}), survived: ${state.survived}`);
  say(trace.join('\n'));
}

/** Disks are written thousands of times: in memory where the system has a place for that. */
function workFolder(): string {
  try {
    accessSync('/dev/shm', constants.W_OK);
    return '/dev/shm';
  } catch {
    return tmpdir();
  }
}

async function powercut(flags: Flags, signal: AbortSignal): Promise<number> {
  if (spawnSync('strace', ['--version']).status !== 0) {
    say('Power cuts are recorded with strace, which is not installed here: apt-get install strace.');
    return 2;
  }
  let toldMs = Date.now();
  const tally = await cutPower({
    scenarios: flags.scenario,
    seed: flags.seed,
    samples: flags.samples,
    maxViolations: flags.maxViolations,
    ...(flags.states === undefined ? {} : { maxStates: flags.states }),
    withoutSyncs: new Set(flags.withoutSync),
    workFolder: workFolder(),
    signal,
    onState(now) {
      if (Date.now() - toldMs < PROGRESS_EVERY_MS) return;
      toldMs = Date.now();
      say(summaryOf(now));
    },
    onViolation: tellViolation,
  });
  for (const site of flags.withoutSync)
    if (!tally.syncSites.has(site)) say(`No "${site}" was seen. There were: ${[...tally.syncSites].sort().join('; ')}`);
  if (flags.json) {
    const { syncSites, ...figures } = tally;
    process.stdout.write(
      `${JSON.stringify({ seed: flags.seed, ...figures, syncSites: [...syncSites].sort(), completed: !signal.aborted })}\n`,
    );
  }
  process.stdout.write(`${summaryOf(tally)}\n`);
  return tally.bricked + tally.lies + tally.stuck > 0 ? 1 : signal.aborted ? 130 : 0;
}

async function main(): Promise<number> {
  const stopped = new AbortController();
  process.once('SIGINT', () => stopped.abort());
  process.once('SIGTERM', () => stopped.abort());
  let status = 0;
  const program = new Command('npm run powercut --')
    .description(
      'Records updates by their system calls, cuts the power at every point, and starts the agent on what may be left.',
    )
    .option('--seed <n>', 'makes the choices repeatable', whole, 1)
    .option('--states <n>', 'judge at most so many disks; all that the method gives where left out', whole)
    .option('--samples <n>', 'random subsets of what was not synced, for each cut', whole, 3)
    .option('--scenario <names>', 'what is cut, separated by commas', scenarios, SCENARIOS)
    .option('--without-sync <site>', 'take this sync as not made, to see that it matters; may be repeated', collect, [])
    .option('--max-violations <n>', 'end early after so many', whole, 10)
    .option('--json', 'the figures as one JSON object before the summary line')
    .addHelpText('after', '\nExample: npm run powercut -- --states 2000 --seed 7')
    .exitOverride()
    .action(async (flags: Flags) => {
      status = await powercut(flags, stopped.signal);
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
    say(error instanceof Error ? (error.stack ?? error.message) : String(error));
    process.exit(1);
  },
);
