import { RolloutError } from './errors.js';

/** Persisted and shown names; stable across versions. */
export type RolloutState = 'running' | 'paused' | 'halted' | 'reverting' | 'reverted' | 'aborted' | 'completed';
export type RolloutEvent = 'pause' | 'resume' | 'halt' | 'revert' | 'confirm' | 'abort' | 'complete';

export type RolloutDeviceState =
  'waiting' | 'ordered' | 'updating' | 'succeeded' | 'failed' | 'reverting' | 'reverted' | 'skipped';
export type RolloutDeviceEvent = 'order' | 'skip' | 'progress' | 'succeed' | 'fail' | 'revert' | 'confirm';

type Table<State extends string, Event extends string> = Readonly<
  Record<State, Readonly<Partial<Record<Event, State>>>>
>;

/** The whole life of a rollout. An event that a state does not list is refused, never ignored. */
export const ROLLOUT_TRANSITIONS = {
  /**
   * Invariant: orders go out for the devices up to the current stage, and no further.
   * Entry: creation, or `resume`, which begins the stage's evidence anew.
   * Exits: the last stage's PASS (`complete`); a FAIL or a timeout (`halt`); an operator.
   */
  running: { pause: 'paused', halt: 'halted', complete: 'completed', abort: 'aborted', revert: 'reverting' },
  /**
   * Invariant: no new device is ordered and no stage is passed; a FAIL still halts, time does not count.
   * Entry: an operator. Exits: `resume`, `abort`, a FAIL.
   */
  paused: { resume: 'running', halt: 'halted', abort: 'aborted', revert: 'reverting' },
  /**
   * Invariant: nothing is ordered until a person, or the automatic revert after a FAIL, decides.
   * Entry: FAIL, or the gate's time ran out without a PASS. Exits: `revert`, `resume` (an operator overrides), `abort`.
   */
  halted: { resume: 'running', abort: 'aborted', revert: 'reverting' },
  /**
   * Invariant: every device that has or may have received the release has a signed order back, or a stated reason why there is none.
   * Entry: a FAIL with autoRevert, or an operator. Exits: all signed reports confirm; `abort` stops waiting for those that are silent.
   */
  reverting: { confirm: 'reverted', abort: 'aborted' },
  /** Invariant: each device that was ordered back says, signed, that it runs what it ran before. Final. */
  reverted: {},
  /** Invariant: the rollout orders nothing any more; devices keep the order that they have. Final. */
  aborted: {},
  /** Invariant: every stage passed its gate. Final. */
  completed: {},
} as const satisfies Table<RolloutState, RolloutEvent>;

/** A rollout in one of these holds its devices: no second one may order them for the same model. */
export const ACTIVE_STATES = ['running', 'paused', 'halted', 'reverting'] as const satisfies readonly RolloutState[];

/** One device in one rollout. */
export const DEVICE_TRANSITIONS = {
  /** Invariant: this rollout sent it nothing; it may serve as a control. Exits: its stage begins; it runs the release already (`skip`). */
  waiting: { order: 'ordered', skip: 'skipped' },
  /** Invariant: a signed order is stored for it; whether it arrived is not known. Exits: it reports; a revert. */
  ordered: { progress: 'updating', succeed: 'succeeded', fail: 'failed', revert: 'reverting' },
  /** Invariant: it said, signed, that it works on this rollout's order. Exits: its outcome; a revert. */
  updating: { succeed: 'succeeded', fail: 'failed', revert: 'reverting' },
  /** Invariant: its newest signed state says that it runs the release and committed this rollout's order. Exits: it says otherwise; a revert. */
  succeeded: { fail: 'failed', revert: 'reverting' },
  /** Invariant: it fell back or refused, or there is nothing that it could go back to. Exit: a revert, where it may still run the release. */
  failed: { revert: 'reverting' },
  /** Invariant: a signed order back is stored for it. Exit: it says, signed, that the order has ended and that it runs what it ran before. */
  reverting: { confirm: 'reverted' },
  /** Final. */
  reverted: {},
  /** Invariant: it ran the release before the rollout came to it; it neither counts as a success nor is it reverted. Final. */
  skipped: {},
} as const satisfies Table<RolloutDeviceState, RolloutDeviceEvent>;

function next<State extends string, Event extends string>(
  table: Table<State, Event>,
  what: string,
  from: State,
  event: Event,
): State {
  const to = table[from][event];
  if (to !== undefined) return to;
  const possible = Object.keys(table[from]).join(', ');
  throw new RolloutError('ROLLOUT_TRANSITION_REFUSED', `${what} is ${from}: it cannot ${event}.`, {
    remedy: possible === '' ? 'This state is final; create a new rollout.' : `From ${from} it can: ${possible}.`,
  });
}

/** @throws RolloutError ROLLOUT_TRANSITION_REFUSED */
export const nextRolloutState = (from: RolloutState, event: RolloutEvent): RolloutState =>
  next<RolloutState, RolloutEvent>(ROLLOUT_TRANSITIONS, 'The rollout', from, event);

/** @throws RolloutError ROLLOUT_TRANSITION_REFUSED */
export const nextDeviceState = (from: RolloutDeviceState, event: RolloutDeviceEvent): RolloutDeviceState =>
  next<RolloutDeviceState, RolloutDeviceEvent>(DEVICE_TRANSITIONS, 'The device', from, event);

/** Its update under this rollout has ended, well or not. */
export const isSettled = (state: RolloutDeviceState): boolean =>
  state === 'succeeded' || state === 'failed' || state === 'skipped' || state === 'reverted';
