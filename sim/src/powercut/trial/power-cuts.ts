import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Type, type Static } from 'typebox';
import { seededRandom } from '@drover/shared/statistics';
import { SCENARIO_NAMES } from '../../chaos/campaign/scenarios.js';
import type { Violation } from '../../chaos/campaign/violation.js';
import { createModelPool } from '../../chaos/releases/model-pool.js';
import { fingerprint, writeDisk } from '../disk/disk.js';
import { legalStates, type LegalState } from '../disk/legal-states.js';
import { recordUpdate, type RecordedScenario, type RecordedUpdate } from './recorded-update.js';
import { StateProcess } from './state-process.js';

export interface CutViolation extends Violation {
  readonly scenario: RecordedScenario;
  readonly state: Omit<LegalState, 'disk'>;
  /** The operations before the cut that were not synced by it, or the last ones. */
  readonly trace: readonly string[];
}

export interface PowerCutOptions {
  readonly scenarios: readonly RecordedScenario[];
  readonly seed: number;
  /** Judged at most, spread over all scenarios and cuts; undefined judges all. */
  readonly maxStates?: number;
  readonly maxViolations: number;
  readonly samples: number;
  readonly withoutSyncs?: ReadonlySet<string>;
  /** Folder for disks; best in memory, since what is judged is written thousands of times. */
  readonly workFolder: string;
  /** What an interrupted run had done: the scenario in which it was interrupted is judged from its beginning. */
  readonly tally?: CutTally;
  readonly signal: AbortSignal;
  /** After each disk that was judged; the scenario is in the tally as far as it is judged. */
  readonly onState: (tally: CutTally) => void;
  /** After each scenario that was judged to its end: what a later run can go on from. */
  readonly onDone: (tally: CutTally) => void;
  readonly onViolation: (violation: CutViolation) => void;
}

const Count = Type.Integer({ minimum: 0 });

export const CutTally = Type.Object({
  states: Count,
  bricked: Count,
  lies: Count,
  stuck: Count,
  operations: Count,
  /** Sites of syncs that the recorded updates made. */
  syncSites: Type.Array(Type.String()),
  /** Scenarios that were judged to their end. */
  done: Type.Array(Type.Enum(SCENARIO_NAMES)),
});
export type CutTally = Static<typeof CutTally>;

export const newCutTally = (): CutTally => ({
  states: 0,
  bricked: 0,
  lies: 0,
  stuck: 0,
  operations: 0,
  syncSites: [],
  done: [],
});

/** Records updates, cuts the power at every point of them, and starts the agent on what may be left. */
export async function cutPower(options: PowerCutOptions): Promise<CutTally> {
  const { scenarios, signal, maxStates = Infinity } = options;
  const tally = options.tally ?? newCutTally();
  const isOver = (): boolean => signal.aborted || violationsOf(tally) >= options.maxViolations;
  const left = scenarios.filter((scenario) => !tally.done.includes(scenario));
  await withRecordings({ ...options, scenarios: left }, async (update, judge) => {
    if (isOver()) return;
    const { operations } = update.recording;
    tally.operations += operations.length;
    tally.syncSites.push(...[...sitesOf(update)].filter((site) => !tally.syncSites.includes(site)));
    const share = Math.ceil(maxStates / scenarios.length);
    for (const state of chosenStates(update, share, options)) {
      if (isOver()) break;
      const violations = await judge(state);
      tally.states += 1;
      for (const violation of isOver() ? [] : violations) {
        tally[violation.kind === 'lie' ? 'lies' : violation.kind] += 1;
        options.onViolation(violation);
      }
      options.onState(tally);
    }
    if (isOver()) return;
    tally.done.push(update.scenario);
    options.onDone(tally);
  });
  return tally;
}

export interface SyncWeight {
  readonly scenario: RecordedScenario;
  readonly site: string;
  /** Judged; each is one that could not be found with this sync. */
  readonly states: number;
  /** The first, where the loss of the sync was seen. */
  readonly violation?: CutViolation;
}

/**
 * Takes the sync of one site after the other as not made, and tells of each whether the device bears that.
 *
 * @returns the scenarios of which every wanted sync was weighed
 */
export async function weighSyncs(
  options: PowerCutOptions,
  onWeight: (weight: SyncWeight) => void,
  isWanted: (site: string) => boolean = () => true,
): Promise<RecordedScenario[]> {
  const tally = newCutTally();
  const complete: RecordedScenario[] = [];
  await withRecordings(options, async (update, judge) => {
    for (const site of [...sitesOf(update)].filter(isWanted).sort()) {
      let states = 0;
      let violation: CutViolation | undefined;
      for (const state of chosenStates(update, options.maxStates ?? Infinity, {
        ...options,
        withoutSyncs: new Set([site]),
      })) {
        if (options.signal.aborted || violation) break;
        [violation] = await judge(state);
        states += 1;
        tally.states += 1;
        options.onState(tally);
      }
      if (options.signal.aborted) return;
      onWeight({ scenario: update.scenario, site, states, ...(violation ? { violation } : {}) });
    }
    complete.push(update.scenario);
  });
  return complete;
}

type Judge = (state: LegalState) => Promise<CutViolation[]>;

async function withRecordings(
  { scenarios, workFolder, signal }: PowerCutOptions,
  act: (update: RecordedUpdate, judge: Judge) => Promise<void>,
): Promise<void> {
  const pool = await createModelPool();
  const root = await mkdtemp(join(workFolder, 'drover-powercut-'));
  const judged = new StateProcess();
  try {
    for (const scenario of scenarios) {
      if (signal.aborted) break;
      const update = await recordUpdate(scenario, pool, await mkdtemp(join(root, 'update-')));
      const judge: Judge = async ({ disk, fileSystem, cut, survived }) => {
        const place = await mkdtemp(join(root, 'state-'));
        const dataDir = join(place, 'device');
        writeDisk(disk, dataDir);
        const trial = update.trialOn(dataDir, cut);
        const life = await judged.live(trial.plan);
        const violations = trial.judge(life);
        await rm(place, { recursive: true, force: true });
        const state = { fileSystem, cut, survived };
        return violations.map((each) => ({ ...each, scenario, state, trace: traceOf(update, cut, life.events) }));
      };
      try {
        await act(update, judge);
      } finally {
        await update.close();
      }
    }
  } finally {
    judged.close();
    await rm(root, { recursive: true, force: true });
  }
}

const violationsOf = ({ bricked, lies, stuck }: CutTally): number => bricked + lies + stuck;

function sitesOf({ recording }: RecordedUpdate): Set<string> {
  return new Set(recording.operations.flatMap((operation) => (operation.kind === 'sync' ? [operation.site] : [])));
}

/** Different disks, at most `maxStates`: by seed from all of them where there are more. Without a sync: those that could not be found with it. */
function* chosenStates(update: RecordedUpdate, maxStates: number, options: PowerCutOptions): Generator<LegalState> {
  const { recording } = update;
  const random = seededRandom(options.seed).fork(update.scenario);
  const { withoutSyncs = new Set<string>(), samples } = options;
  const stateOptions = {
    random: random.fork('states'),
    samples,
    withoutSyncs,
    // What a missing sync spoils, it spoils most where nothing else was written back by chance.
    onlyExtremes: withoutSyncs.size > 0,
  };
  const cuts = Array.from({ length: recording.operations.length + 1 }, (_, cut) => cut);
  const seen = new Set<string>();
  const isNew = ({ disk, cut }: LegalState): boolean => {
    // What was told before the cut is part of what is judged.
    const told = recording.tellings.filter(({ at }) => at <= cut).length;
    const print = `${told} ${fingerprint(disk)}`;
    return !seen.has(print) && Boolean(seen.add(print));
  };
  if (withoutSyncs.size > 0) {
    const whole = { ...stateOptions, withoutSyncs: new Set<string>() };
    for (const state of legalStates(recording, cuts, whole)) isNew(state);
  }
  if (maxStates === Infinity) {
    for (const state of legalStates(recording, cuts, stateOptions)) if (isNew(state)) yield state;
    return;
  }
  // One state or a few of each cut in turn: every part of the update has its share, however few states there may be.
  const perCut = Math.max(1, Math.ceil(maxStates / cuts.length));
  let left = maxStates;
  for (const cut of random.shuffle(cuts)) {
    const states = [...legalStates(recording, [cut], stateOptions)];
    for (const state of random.shuffle(states).filter(isNew).slice(0, perCut)) {
      if (left-- <= 0) return;
      yield state;
    }
  }
}

const KEPT_OPERATIONS = 25;

function traceOf({ recording }: RecordedUpdate, cut: number, events: readonly { event: string }[]): string[] {
  const from = Math.max(0, cut - KEPT_OPERATIONS);
  const operations = recording.operations.slice(from, cut).map((operation, at) => {
    switch (operation.kind) {
      case 'add':
        return `${from + at}: add "${operation.name}" to folder ${operation.folder} as ${operation.node}`;
      case 'remove':
        return `${from + at}: remove "${operation.name}" from folder ${operation.folder}`;
      case 'write':
        return `${from + at}: write ${operation.bytes.length} bytes at ${operation.offset} of ${operation.node}`;
      case 'truncate':
        return `${from + at}: truncate ${operation.node} to ${operation.size}`;
      case 'sync':
        return `${from + at}: ${operation.site} (${operation.node})`;
    }
  });
  const told = events
    .filter(({ event }) => event !== 'report' && event !== 'passed')
    .map((event) => `  ${JSON.stringify(event)}`);
  return [...operations, 'after the cut:', ...told];
}
