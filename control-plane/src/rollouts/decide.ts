import type { CodedErrorJson } from '@drover/shared/coded-error';
import type { DeviceId, Digest } from '@drover/shared/ids';
import type { Outcome } from '../director/tables.js';
import {
  isSettled,
  nextDeviceState,
  type RolloutDeviceEvent,
  type RolloutDeviceState,
  type RolloutState,
} from './states.js';
import type { StageEvidence } from './verdict.js';

/** One device as the rollout knows it and as its newest signed state report describes it. */
export interface DeviceFacts {
  readonly id: DeviceId;
  readonly state: RolloutDeviceState;
  readonly reason: string;
  readonly updatedAt: number;
  /** What it ran when it was ordered. */
  readonly previous: { readonly version: string; readonly digest: Digest } | undefined;
  /** By its signed report: what it runs. */
  readonly runs: Digest | undefined;
  /** By its signed report: an order of this rollout that it works on, by the release that the order names. */
  readonly worksOn: Digest | undefined;
  /** By its signed report: how the last order ended, if that was one of this rollout. */
  readonly outcome:
    { readonly digest: Digest; readonly result: Outcome; readonly error: CodedErrorJson | undefined } | undefined;
  /** It accepted the order back, or one after it. */
  readonly acceptedRevert: boolean;
  /** Why it can't be sent back, if it can't: it ran nothing before, or the publisher's floor. */
  readonly noWayBack: string | undefined;
}

export interface RolloutFacts {
  readonly nowMs: number;
  readonly state: RolloutState;
  readonly candidate: Digest;
  readonly autoRevert: boolean;
  readonly revertWanted: boolean;
  readonly gate: { readonly minSoakMs: number; readonly timeoutMs: number };
  /** Index of the current stage, and the cumulative size of each. */
  readonly stage: number;
  readonly stageSizes: readonly number[];
  /** The stage's present run; absent before it has begun. */
  readonly run: { readonly startedAt: number; readonly evidence: StageEvidence } | undefined;
  /** In the order in which they get the release. */
  readonly devices: readonly DeviceFacts[];
}

/** What can be done about a rollout: the one list from which steps and executors are derived. */
export interface StepArguments {
  'observe-device': { readonly device: DeviceId; readonly event: RolloutDeviceEvent; readonly reason: string };
  'explain-device': { readonly device: DeviceId; readonly reason: string };
  'begin-stage': { readonly stage: number };
  'order-devices': { readonly devices: readonly DeviceId[] };
  'advance-stage': { readonly to: number; readonly reason: string };
  halt: { readonly reason: string; readonly revert: boolean };
  'begin-revert': { readonly reason: string };
  'revert-devices': { readonly devices: readonly DeviceId[] };
  'finish-revert': { readonly reason: string };
  complete: { readonly reason: string };
}
export type StepKind = keyof StepArguments;
export type Step = { [Kind in StepKind]: { readonly kind: Kind } & StepArguments[Kind] }[StepKind];

/** Orders that are signed and stored in one transaction. */
const BATCH_DEVICES = 100;

/** Facts to steps; pure. It is asked again after the steps were carried out, until there are none. */
export function decide(facts: RolloutFacts): Step[] {
  const observed = facts.devices.flatMap((device) => observe(device, facts.candidate));
  if (observed.length > 0) return observed;
  switch (facts.state) {
    case 'running':
      return decideStage(facts);
    case 'paused':
      return failed(facts);
    case 'halted':
      return facts.revertWanted
        ? [{ kind: 'begin-revert', reason: 'The verdict was FAIL, and the rollout reverts by itself.' }]
        : [];
    case 'reverting':
      return decideRevert(facts);
    case 'reverted':
    case 'aborted':
    case 'completed':
      return [];
  }
}

/** What a device's newest signed report means for its state here. */
function observe(device: DeviceFacts, candidate: Digest): Step[] {
  const { id, state, runs, worksOn, outcome } = device;
  const step = (event: RolloutDeviceEvent, reason: string): Step[] => {
    nextDeviceState(state, event);
    return [{ kind: 'observe-device', device: id, event, reason }];
  };
  const why = outcome?.error ? `${outcome.error.code}: ${outcome.error.what}` : 'no reason given';
  switch (state) {
    case 'ordered':
    case 'updating':
      if (outcome?.digest === candidate) {
        // An order that expired on its way is signed anew by the director; that is no failure of the release.
        if (outcome.result === 'refused' && outcome.error?.code === 'DEPLOYMENT_EXPIRED') return [];
        if (outcome.result !== 'committed')
          return step('fail', `It ${outcome.result === 'refused' ? 'refused the order' : 'fell back'} (${why}).`);
        // "Committed" without running it is no success (hawkBit #3185), and no failure either: it counts as silence.
        return runs === candidate
          ? step('succeed', 'It says, signed, that it runs the release and has committed it.')
          : [];
      }
      return state === 'ordered' && worksOn === candidate ? step('progress', 'It works on the order.') : [];
    case 'succeeded':
      return runs !== undefined && runs !== candidate ? step('fail', `It says now that it runs ${runs}.`) : [];
    case 'reverting': {
      // Running it is not enough: while it is on probation, a failure could still take the device back to the bad release. Once the order has
      // ended, whichever way, what it runs is what it has committed.
      const isBack = runs !== undefined && runs === device.previous?.digest && outcome?.digest === runs;
      if (device.acceptedRevert && isBack) {
        return step('confirm', 'It says, signed, that it is done and runs what it ran before.');
      }
      const refused =
        outcome !== undefined && outcome.digest === device.previous?.digest && outcome.result !== 'committed';
      const reason = `It did not go back (${why}).`;
      return refused && device.reason !== reason ? [{ kind: 'explain-device', device: id, reason }] : [];
    }
    case 'waiting':
    case 'failed':
    case 'reverted':
    case 'skipped':
      return [];
  }
}

function failed({ run, autoRevert }: RolloutFacts): Step[] {
  return run?.evidence.verdict === 'FAIL'
    ? [{ kind: 'halt', reason: `FAIL. ${run.evidence.reason}`, revert: autoRevert }]
    : [];
}

function decideStage(facts: RolloutFacts): Step[] {
  const { nowMs, candidate, stage, stageSizes, run, gate } = facts;
  const halt = failed(facts);
  if (halt.length > 0) return halt;
  const size = stageSizes[stage] ?? facts.devices.length;
  const members = facts.devices.slice(0, size);
  const waiting = members.filter(({ state }) => state === 'waiting');
  const current = waiting.filter(({ runs }) => runs === candidate);
  if (current.length > 0) {
    return current.map(({ id }) => ({
      kind: 'observe-device',
      device: id,
      event: 'skip',
      reason: 'It ran the release already.',
    }));
  }
  const isLast = stage === stageSizes.length - 1;
  const pass = (reason: string): Step[] =>
    isLast ? [{ kind: 'complete', reason }] : [{ kind: 'advance-stage', to: stage + 1, reason }];

  if (members.every(({ state }) => state === 'skipped'))
    return pass('Every device of the stage ran the release already.');
  if (!isLast && size === (stageSizes[stage - 1] ?? 0)) return pass('The stage adds no device to the one before it.');
  if (!run) return [{ kind: 'begin-stage', stage }];
  if (waiting.length > 0)
    return [{ kind: 'order-devices', devices: waiting.slice(0, BATCH_DEVICES).map(({ id }) => id) }];

  const silent = members.filter(({ state }) => !isSettled(state)).length;
  const { verdict, reason } = run.evidence;
  // The last stage has no later one in which a silent device could still be seen to fail.
  const isPassed = verdict === 'PASS' && (!isLast || silent === 0);
  if (isPassed) {
    const endedAt = Math.max(
      run.startedAt,
      ...members.filter(({ state }) => isSettled(state)).map(({ updatedAt }) => updatedAt),
    );
    return nowMs - endedAt >= gate.minSoakMs ? pass(`PASS. ${reason}`) : [];
  }
  if (nowMs - run.startedAt < gate.timeoutMs) return [];
  const silence = silent > 0 ? ` ${silent} of ${members.length} devices have not said how their update ended.` : '';
  return [{ kind: 'halt', reason: `The gate's time ran out: ${verdict}. ${reason}${silence}`, revert: false }];
}

function decideRevert({ devices, candidate }: RolloutFacts): Step[] {
  /** It has the release, or may have it: an order that was sent may arrive at any time. */
  const touched = devices.filter(
    ({ state, runs }) =>
      state === 'ordered' ||
      state === 'updating' ||
      state === 'succeeded' ||
      (state === 'failed' && (runs === candidate || runs === undefined)),
  );
  const stranded = touched.filter(({ state, noWayBack }) => noWayBack !== undefined && state !== 'failed');
  if (stranded.length > 0) {
    return stranded.map(({ id, noWayBack }) => ({
      kind: 'observe-device',
      device: id,
      event: 'fail',
      reason: noWayBack ?? '',
    }));
  }
  const back = touched.filter(({ noWayBack }) => noWayBack === undefined);
  if (back.length > 0) return [{ kind: 'revert-devices', devices: back.slice(0, BATCH_DEVICES).map(({ id }) => id) }];
  if (devices.some(({ state }) => state === 'reverting')) return [];
  const returned = devices.filter(({ state }) => state === 'reverted').length;
  const left = touched.length;
  const rest = left > 0 ? ` ${left} could not be sent back and still have the release.` : '';
  return [
    { kind: 'finish-revert', reason: `${returned} devices say, signed, that they run what they ran before.${rest}` },
  ];
}
