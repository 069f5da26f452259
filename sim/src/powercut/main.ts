#!/usr/bin/env node
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { tmpdir } from 'node:os';
import { InvalidArgumentError, Option } from 'commander';
import { SCENARIO_NAMES } from '../chaos/campaign/scenarios.js';
import { runTrialCommand, say, sayStopped, seldom, whole } from '../chaos/command.js';
import { openSavedRun } from '../chaos/saved-run.js';
import { unexpected } from './trial/needed-syncs.js';
import {
  cutPower,
  CutTally,
  newCutTally,
  weighSyncs,
  type CutViolation,
  type PowerCutOptions,
  type SyncWeight,
} from './trial/power-cuts.js';
import type { RecordedScenario } from './trial/recorded-update.js';

interface Flags {
  readonly seed: number;
  readonly states?: number;
  readonly samples: number;
  readonly scenario: readonly RecordedScenario[];
  readonly withoutSync: readonly string[];
  readonly eachSync?: true;
  readonly resume?: string;
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
  'parameters',
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

/** Which syncs a device needs, against the list of those that it is known to need. */
async function weigh(options: PowerCutOptions, signal: AbortSignal): Promise<number> {
  const weights: SyncWeight[] = [];
  const complete = await weighSyncs(options, (weight) => {
    weights.push(weight);
    const { site, scenario, states, violation } = weight;
    const how = violation ? `needed (${violation.kind}: ${violation.what})` : `borne in ${states} states`;
    process.stdout.write(`${site} ("${scenario}"): ${how}\n`);
  });
  const wrong = unexpected(weights, complete);
  for (const each of wrong) say(each);
  const count = (of: readonly SyncWeight[]): number => new Set(of.map(({ site }) => site)).size;
  const needed = weights.filter(({ violation }) => violation);
  process.stdout.write(`syncs=${count(weights)} needed=${count(needed)} unexpected=${wrong.length}\n`);
  return wrong.length > 0 ? 1 : signal.aborted ? 130 : 0;
}

async function powercut(flags: Flags, signal: AbortSignal): Promise<number> {
  if (spawnSync('strace', ['--version']).status !== 0) {
    say('Power cuts are recorded with strace, which is not installed here: apt-get install strace.');
    return 2;
  }
  const { seed, samples, states, scenario, withoutSync } = flags;
  const saved = openSavedRun(flags.resume, {
    trial: 'powercut',
    settings: { seed, samples, states, scenario, 'without-sync': withoutSync },
    content: CutTally,
  });
  const options: PowerCutOptions = {
    scenarios: scenario,
    seed,
    samples,
    maxViolations: flags.maxViolations,
    ...(states === undefined ? {} : { maxStates: states }),
    withoutSyncs: new Set(withoutSync),
    workFolder: workFolder(),
    signal,
    tally: saved.content ?? newCutTally(),
    onState: seldom((now: CutTally) => {
      say(flags.eachSync ? `states=${now.states}` : `${summaryOf(now)}; "${now.done.at(-1) ?? 'nothing'}" is done`);
    }),
    onDone: (now) => saved.keep(now),
    onViolation: tellViolation,
  };
  if (flags.eachSync) return weigh(options, signal);
  const tally = await cutPower(options);
  if (signal.aborted) sayStopped(flags.resume);
  for (const site of withoutSync)
    if (!tally.syncSites.includes(site))
      say(`No "${site}" was seen. There were: ${tally.syncSites.toSorted().join('; ')}`);
  if (flags.json) {
    const syncSites = tally.syncSites.toSorted();
    process.stdout.write(`${JSON.stringify({ seed, ...tally, syncSites, completed: !signal.aborted })}\n`);
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
      .addOption(
        new Option(
          '--each-sync',
          'take each sync in turn as not made, and say which the device needs; --states counts for each',
        ).conflicts(['withoutSync', 'resume', 'maxViolations', 'json']),
      )
      .option('--resume <file>', 'keep the tally there, and go on from it when it exists')
      .option('--max-violations <n>', 'end early after so many', whole, 10),
  run: powercut,
});
