import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { seededRandom } from '@drover/shared/statistics';
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
  readonly signal: AbortSignal;
  readonly onState: (tally: CutTally) => void;
  readonly onViolation: (violation: CutViolation) => void;
}

export interface CutTally {
  states: number;
  bricked: number;
  lies: number;
  stuck: number;
  operations: number;
  /** Sites of syncs that the recorded updates made. */
  readonly syncSites: Set<string>;
}

/** Records updates, cuts the power at every point of them, and starts the agent on what may be left. */
export async function cutPower(options: PowerCutOptions): Promise<CutTally> {
  const { scenarios, workFolder, signal } = options;
  const tally: CutTally = { states: 0, bricked: 0, lies: 0, stuck: 0, operations: 0, syncSites: new Set() };
  const pool = await createModelPool();
  const root = await mkdtemp(join(workFolder, 'drover-powercut-'));
  const judged = new StateProcess();
  const isOver = (): boolean => signal.aborted || tally.bricked + tally.lies + tally.stuck >= options.maxViolations;
  try {
    for (const scenario of scenarios) {
      if (isOver()) break;
      const update = await recordUpdate(scenario, pool, await mkdtemp(join(root, 'update-')));
      try {
        const { operations } = update.recording;
        tally.operations += operations.length;
        for (const operation of operations) if (operation.kind === 'sync') tally.syncSites.add(operation.site);
        const share = Math.ceil((options.maxStates ?? Infinity) / scenarios.length);
        for (const state of chosenStates(update, share, options)) {
          if (isOver()) break;
          const place = await mkdtemp(join(root, 'state-'));
          const dataDir = join(place, 'device');
          writeDisk(state.disk, dataDir);
          const trial = update.trialOn(dataDir, state.cut);
          const life = await judged.live(trial.plan);
          const violations = isOver() ? [] : trial.judge(life);
          await rm(place, { recursive: true, force: true });
          tally.states += 1;
          for (const violation of violations) {
            tally[violation.kind === 'lie' ? 'lies' : violation.kind] += 1;
            const { fileSystem, cut, survived } = state;
            options.onViolation({
              ...violation,
              scenario,
              state: { fileSystem, cut, survived },
              trace: traceOf(update, cut, life.events),
            });
          }
          options.onState(tally);
        }
      } finally {
        await update.close();
      }
    }
  } finally {
    judged.close();
    await rm(root, { recursive: true, force: true });
  }
  return tally;
}

/** Different disks, at most `maxStates`: by seed from all of them where there are more. */
function* chosenStates(update: RecordedUpdate, maxStates: number, options: PowerCutOptions): Generator<LegalState> {
  const random = seededRandom(options.seed).fork(update.scenario);
  const { withoutSyncs, samples } = options;
  const stateOptions = {
    random: random.fork('states'),
    samples,
    ...(withoutSyncs ? { withoutSyncs } : {}),
    // What a missing sync spoils, it spoils most where nothing else was written back by chance.
    onlyExtremes: (withoutSyncs?.size ?? 0) > 0,
  };
  const cuts = Array.from({ length: update.recording.operations.length + 1 }, (_, cut) => cut);
  const seen = new Set<string>();
  const isNew = ({ disk, cut }: LegalState): boolean => {
    // What was told before the cut is part of what is judged.
    const told = update.recording.tellings.filter(({ at }) => at <= cut).length;
    const print = `${told} ${fingerprint(disk)}`;
    return !seen.has(print) && Boolean(seen.add(print));
  };
  if (maxStates === Infinity) {
    for (const state of legalStates(update.recording, cuts, stateOptions)) if (isNew(state)) yield state;
    return;
  }
  // One state or a few of each cut in turn: every part of the update has its share, however few states there may be.
  const perCut = Math.max(1, Math.ceil(maxStates / cuts.length));
  let left = maxStates;
  for (const cut of random.shuffle(cuts)) {
    const states = [...legalStates(update.recording, [cut], stateOptions)];
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
