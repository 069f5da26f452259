#!/usr/bin/env node
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { tmpdir } from 'node:os';
import { InvalidArgumentError } from 'commander';
import { SCENARIO_NAMES } from '../chaos/campaign/scenarios.js';
import { runTrialCommand, say, seldom, whole } from '../chaos/command.js';
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

/** One for each way in which a device writes: the others write the same in another order. */
const DEFAULT_SCENARIOS: readonly RecordedScenario[] = [
  'upgrade',
  'unhealthy',
  'first',
  'way back',
  'superseded in probation',
  'cut off',
  'delta',
  'adaptation',
  'key replaced',
  'recovery',
  'renewal',
  'agent',
];
const collect = (text: string, earlier: readonly string[]): string[] => [...earlier, text];
const scenarios = (text: string): RecordedScenario[] =>
  text.split(',').map((name) => {
    const found = SCENARIO_NAMES.find((each) => each === name);
    if (!found) throw new InvalidArgumentError(`It must be of: ${SCENARIO_NAMES.join(', ')}.`);
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
  const tally = await cutPower({
    scenarios: flags.scenario,
    seed: flags.seed,
    samples: flags.samples,
    maxViolations: flags.maxViolations,
    ...(flags.states === undefined ? {} : { maxStates: flags.states }),
    withoutSyncs: new Set(flags.withoutSync),
    workFolder: workFolder(),
    signal,
    onState: seldom((now: CutTally) => say(summaryOf(now))),
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

runTrialCommand<Flags>({
  name: 'powercut',
  description:
    'Records updates by their system calls, cuts the power at every point, and starts the agent on what may be left.',
  example: '--states 2000 --seed 7',
  addOptions: (command) =>
    command
      .option('--seed <n>', 'makes the choices repeatable', whole, 1)
      .option('--states <n>', 'judge at most so many disks; all that the method gives where left out', whole)
      .option('--samples <n>', 'random subsets of what was not synced, for each cut', whole, 3)
      .option('--scenario <names>', 'what is cut, separated by commas', scenarios, DEFAULT_SCENARIOS)
      .option(
        '--without-sync <site>',
        'take this sync as not made, to see that it matters; may be repeated',
        collect,
        [],
      )
      .option('--max-violations <n>', 'end early after so many', whole, 10),
  run: powercut,
});
