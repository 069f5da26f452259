import type { UpdateState } from '@drover/shared/protocol';

/** What can happen to an update. `done`: the state's step succeeded. `interrupted`: the agent starts again, see `resume`. */
export type UpdateEvent = 'accepted' | 'done' | 'already-running' | 'failed' | 'interrupted';

interface StateRow {
  /** Where each event leads; an event that is not listed is a defect and throws. */
  readonly on: Readonly<Partial<Record<Exclude<UpdateEvent, 'interrupted'>, UpdateState>>>;
  /** Where an update goes on that was in this state when the power went. */
  readonly resume: UpdateState;
  /** What has to serve after such a restart: the last committed release, or the one that is being installed. */
  readonly serves: 'committed' | 'candidate';
  /** True where an interruption counts towards the reboot-loop breaker: the candidate may be what brings the device down. */
  readonly mayCrashDevice: boolean;
  /** Longest time for the state's step, before it counts as hung; undefined where the step bounds itself. */
  readonly deadlineMs?: number;
}

const MINUTE_MS = 60_000;

/**
 * The update of one model as one table (docs/protocol.md, section 6). The names are persisted and reported.
 *
 * Every state from `received` to `committing` leaves for `falling-back` on `failed`: a step's error, a deadline, a newer order.
 */
export const STATES = {
  /** Invariant: no order is in progress; the committed release serves. Entry: start, or the end of an update. Exit: an order was accepted. */
  idle: { on: { accepted: 'received' }, resume: 'idle', serves: 'committed', mayCrashDevice: false },
  /** Invariant: the order is journaled. Entry: acceptance. Exits: fetching; committing when the device already runs what is ordered. */
  received: {
    on: { done: 'fetching', 'already-running': 'committing', failed: 'falling-back' },
    resume: 'received',
    serves: 'committed',
    mayCrashDevice: false,
  },
  /** Invariant: partial files may lie in the store; nothing of them is used. Exit: verifying once every file is there. */
  fetching: {
    on: { done: 'verifying', failed: 'falling-back' },
    resume: 'fetching',
    serves: 'committed',
    mayCrashDevice: false,
  },
  /** Invariant: all files are there. The manifest and each file are read from disk and checked. Exit: staging.
   * Resumes at fetching: a damaged file may have been removed just before. */
  verifying: {
    on: { done: 'staging', failed: 'falling-back' },
    resume: 'fetching',
    serves: 'committed',
    mayCrashDevice: false,
    deadlineMs: 30 * MINUTE_MS,
  },
  /** Invariant: what is in the store is what publisher and director meant. Exit: self-testing once the release folder is complete.
   * Resumes at verifying: what was cut while it wrote is read again first. */
  staging: {
    on: { done: 'self-testing', failed: 'falling-back' },
    resume: 'verifying',
    serves: 'committed',
    mayCrashDevice: false,
    deadlineMs: 15 * MINUTE_MS,
  },
  /** Invariant: the release folder is complete; the candidate runs only apart from what serves. Exit: activating when its tests passed. */
  'self-testing': {
    on: { done: 'activating', failed: 'falling-back' },
    resume: 'self-testing',
    serves: 'committed',
    mayCrashDevice: true,
    deadlineMs: 15 * MINUTE_MS,
  },
  /** Invariant: "activated" is journaled, so that falling back undoes it. Either release may serve. Exit: probation once the candidate serves. */
  activating: {
    on: { done: 'probation', failed: 'falling-back' },
    resume: 'activating',
    serves: 'committed',
    mayCrashDevice: true,
    deadlineMs: 15 * MINUTE_MS,
  },
  /** Invariant: the candidate serves, the committed release is complete on disk. Exits: committing in health; falling-back out of it. */
  probation: {
    on: { done: 'committing', failed: 'falling-back' },
    resume: 'probation',
    serves: 'candidate',
    mayCrashDevice: true,
  },
  /** Invariant: the candidate was judged healthy. Exit: idle, the candidate being the committed release and the older one `previous`. */
  committing: {
    on: { done: 'idle', failed: 'falling-back' },
    resume: 'committing',
    serves: 'candidate',
    mayCrashDevice: false,
  },
  /** Invariant: the error is journaled. Entry: any failure. Needs no network. Exit: cleaning-up once the committed release serves. */
  'falling-back': { on: { done: 'cleaning-up' }, resume: 'falling-back', serves: 'committed', mayCrashDevice: false },
  /** Invariant: the committed release serves. Removes what the failed update left. Exit: idle, with the outcome journaled. */
  'cleaning-up': { on: { done: 'idle' }, resume: 'cleaning-up', serves: 'committed', mayCrashDevice: false },
} as const satisfies Record<UpdateState, StateRow>;

export const stateRow = (state: UpdateState): StateRow => STATES[state];

/** The state that an event leads to. An event that the table does not list is a defect. */
export function nextState(state: UpdateState, event: UpdateEvent): UpdateState {
  const row = stateRow(state);
  const next = event === 'interrupted' ? row.resume : row.on[event];
  if (next === undefined) throw new Error(`The update state "${state}" does not know the event "${event}".`);
  return next;
}
