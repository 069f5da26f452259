import type { FailureCause, SlotFailure, SlotName, Slots } from './slots.js';
import type { CheckLevel } from './slot-files.js';

/** What happened. The first is the launcher's own start: power on, or a restart by systemd. */
export type LauncherEvent =
  | { readonly kind: 'launched' }
  /** The files of a slot that was about to be started are missing or damaged. */
  | { readonly kind: 'unusable'; readonly slot: SlotName; readonly detail: string }
  /** The agent is gone, by itself or because it was ended for `cause`. */
  | {
      readonly kind: 'ended';
      readonly slot: SlotName;
      readonly wasUp: boolean;
      readonly cause: FailureCause;
      readonly detail: string;
      readonly status: number;
    }
  /** The launcher was told to stop, and the agent has ended. */
  | { readonly kind: 'stopped'; readonly slot: SlotName; readonly wasUp: boolean };

export interface LauncherFacts {
  /** As they lie on the disk now: the agent that just ended may have changed them. */
  readonly slots: Slots;
  readonly event: LauncherEvent;
  /** Found damaged since the launcher started. */
  readonly damaged: ReadonlySet<SlotName>;
  readonly nowMs: number;
}

export type LauncherStep =
  /** `record` is on the disk before the slot is checked and started. */
  | {
      readonly kind: 'start';
      readonly slot: SlotName;
      readonly check: CheckLevel;
      readonly record: Slots;
      /** Time from now to the commit; undefined for a committed version. */
      readonly commitWithinMs?: number;
    }
  | { readonly kind: 'leave'; readonly status: number; readonly record: Slots; readonly reason: string };

type Phase = 'settled' | 'wanted' | 'tried' | 'exhausted';
type Happening =
  'launched' | `${'candidate' | 'committed' | 'other'}-${'unusable' | 'ended'}` | 'candidate-stopped' | 'stopped';
type Action = 'try' | 'fall-back' | 'run-committed' | 'leave' | 'forgive';

/** Starts of a candidate that were cut off without our knowing why (power, watchdog), after which it counts as what cuts them. */
export const MAX_ATTEMPTS = 3;

/**
 * All that the launcher ever does.
 *
 * - settled: no candidate. The committed version runs; when it ends, so does the launcher, and systemd starts both again.
 * - wanted: an agent asked for a candidate that was not tried yet, and has ended to make room for it.
 * - tried: the candidate was started. Its own end, whatever the reason, is its failure; a cut is not yet.
 * - exhausted: it was cut off too often.
 *
 * What is not listed leaves with the status of the agent; nothing here may wait or throw.
 */
const TABLE: Readonly<Record<Phase, Readonly<Partial<Record<Happening, Action>>>>> = {
  settled: {
    launched: 'run-committed',
    'committed-unusable': 'run-committed',
    'other-unusable': 'run-committed',
    // The candidate gave itself up, and took its name out of the record before it ended.
    'other-ended': 'run-committed',
  },
  wanted: {
    launched: 'try',
    'committed-ended': 'try',
    'other-ended': 'try',
    // The attempt could not be recorded, so it was not made.
    'candidate-ended': 'fall-back',
    'candidate-unusable': 'fall-back',
    'committed-unusable': 'run-committed',
    'other-unusable': 'run-committed',
  },
  tried: {
    launched: 'try',
    'candidate-ended': 'fall-back',
    'candidate-unusable': 'fall-back',
    'candidate-stopped': 'forgive',
    'committed-unusable': 'run-committed',
    'other-unusable': 'run-committed',
  },
  exhausted: {
    launched: 'fall-back',
    'candidate-ended': 'fall-back',
    'candidate-unusable': 'fall-back',
    'candidate-stopped': 'forgive',
    'committed-unusable': 'run-committed',
    'other-unusable': 'run-committed',
  },
};

/** Facts to step; pure. */
export function nextStep(facts: LauncherFacts): LauncherStep {
  const { slots, event } = facts;
  switch (TABLE[phaseOf(slots)][happeningOf(slots, event)] ?? 'leave') {
    case 'try':
      return tryCandidate(slots);
    case 'fall-back':
      return runCommitted(facts, withoutCandidate(slots, failureOf(facts)));
    case 'run-committed':
      return runCommitted(facts, slots);
    case 'forgive':
      return forgive(slots, event);
    case 'leave':
      return leave(slots, event);
  }
}

export function phaseOf({ candidate }: Slots): Phase {
  if (!candidate) return 'settled';
  if (candidate.attempts === 0) return 'wanted';
  return candidate.attempts < MAX_ATTEMPTS ? 'tried' : 'exhausted';
}

function happeningOf({ candidate, committed }: Slots, event: LauncherEvent): Happening {
  if (event.kind === 'launched') return 'launched';
  const role = event.slot === candidate?.slot ? 'candidate' : event.slot === committed ? 'committed' : 'other';
  if (event.kind === 'stopped') return role === 'candidate' ? 'candidate-stopped' : 'stopped';
  return `${role}-${event.kind}`;
}

function tryCandidate(slots: Slots): LauncherStep {
  const { candidate, ...settled } = slots;
  if (!candidate) return { kind: 'leave', status: 1, record: slots, reason: 'there is no candidate' };
  const { slot, attempts, commitWithinMs } = candidate;
  const record = { ...settled, candidate: { ...candidate, attempts: attempts + 1 } };
  return { kind: 'start', slot, check: 'whole', record, commitWithinMs };
}

export function withoutCandidate({ candidate: _, ...settled }: Slots, lastFailure: SlotFailure): Slots {
  return { ...settled, lastFailure };
}

/** The committed version, else the one before it, else the installer's. Committed is then what is started: the record never claims more. */
function runCommitted({ damaged, event, nowMs }: LauncherFacts, slots: Slots): LauncherStep {
  const { committed, previous, factory, suspect, ...rest } = slots;
  const slot = [committed, previous, factory].find((choice) => choice !== undefined && !damaged.has(choice));
  if (slot === undefined) return { kind: 'leave', status: 1, record: slots, reason: 'no slot is whole' };
  const check = suspect || slot !== committed ? 'whole' : 'sizes';
  if (slot === committed) return { kind: 'start', slot, check, record: slots };
  const detail = event.kind === 'unusable' ? event.detail : 'its files are damaged';
  const lastFailure: SlotFailure = { slot: committed, cause: 'damaged', detail, atMs: nowMs };
  const record: Slots = { ...rest, ...(factory && { factory }), committed: slot, lastFailure };
  return { kind: 'start', slot, check, record };
}

function failureOf({ slots, event, nowMs }: LauncherFacts): SlotFailure {
  const slot = slots.candidate?.slot ?? slots.committed;
  if (event.kind === 'ended') return { slot, cause: event.cause, detail: event.detail, atMs: nowMs };
  if (event.kind === 'unusable') return { slot, cause: 'damaged', detail: event.detail, atMs: nowMs };
  const detail = `it was cut off ${MAX_ATTEMPTS} times before it was committed`;
  return { slot, cause: 'interrupted', detail, atMs: nowMs };
}

/** An orderly stop of a candidate that was up says nothing against it. One that was not up by then may be why somebody stopped it. */
function forgive(slots: Slots, event: LauncherEvent): LauncherStep {
  const { candidate } = slots;
  const isForgiven = candidate && event.kind === 'stopped' && event.wasUp;
  const record = isForgiven ? { ...slots, candidate: { ...candidate, attempts: candidate.attempts - 1 } } : slots;
  return { kind: 'leave', status: 0, record, reason: 'told to stop' };
}

function leave(slots: Slots, event: LauncherEvent): LauncherStep {
  if (event.kind !== 'ended') return { kind: 'leave', status: 0, record: slots, reason: 'told to stop' };
  const isDoubtful = event.slot === slots.committed && !event.wasUp;
  const record: Slots = isDoubtful ? { ...slots, suspect: true } : slots;
  return { kind: 'leave', status: event.status, record, reason: event.detail };
}
