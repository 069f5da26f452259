import { describe, expect, it } from 'vitest';
import { DeviceId, digestOf } from '@drover/shared/ids';
import { decide, type DeviceFacts, type RolloutFacts } from '../../src/rollouts/decide.js';
import type { StageEvidence } from '../../src/rollouts/verdict.js';

const CANDIDATE = digestOf(Buffer.from('candidate'));
const OLD = digestOf(Buffer.from('old'));

const device = (name: string, changes: Partial<DeviceFacts> = {}): DeviceFacts => ({
  id: DeviceId(name),
  state: 'waiting',
  reason: '',
  updatedAt: 0,
  previous: { version: '1.0.0', digest: OLD },
  runs: OLD,
  worksOn: undefined,
  outcome: undefined,
  acceptedRevert: false,
  noWayBack: undefined,
  ...changes,
});
const evidence = (verdict: StageEvidence['verdict']) => ({ verdict, reason: 'Because.' }) as StageEvidence;
const facts = (changes: Partial<RolloutFacts> = {}): RolloutFacts => ({
  nowMs: 0,
  state: 'running',
  candidate: CANDIDATE,
  autoRevert: true,
  revertWanted: false,
  gate: { minSoakMs: 100, timeoutMs: 1000 },
  stage: 0,
  stageSizes: [1, 2],
  run: { startedAt: 0, evidence: evidence('NO_DATA') },
  devices: [device('a'), device('b')],
  ...changes,
});
const succeeded = device('a', { state: 'succeeded', runs: CANDIDATE, updatedAt: 50 });
const kinds = (given: RolloutFacts) => decide(given).map(({ kind }) => kind);

describe('decide', () => {
  it('when the stage has not begun, its evidence begins before anybody is ordered', () => {
    expect(decide(facts({ run: undefined }))).toEqual([{ kind: 'begin-stage', stage: 0 }]);
    expect(decide(facts())).toEqual([{ kind: 'order-devices', devices: ['a'] }]);
  });

  it.each(['NO_DATA', 'INCONCLUSIVE'] as const)(
    'when the verdict is %s, it waits, and after the time it halts: it never goes on',
    (verdict) => {
      const waiting = { devices: [succeeded, device('b')], run: { startedAt: 0, evidence: evidence(verdict) } };
      expect(kinds(facts({ ...waiting, nowMs: 999 }))).toEqual([]);
      expect(decide(facts({ ...waiting, nowMs: 1000 }))).toEqual([
        { kind: 'halt', reason: `The gate's time ran out: ${verdict}. Because.`, revert: false },
      ]);
    },
  );

  it('when the verdict is PASS, it goes on only after the soak', () => {
    const passed = { devices: [succeeded, device('b')], run: { startedAt: 0, evidence: evidence('PASS') } };
    expect(kinds(facts({ ...passed, nowMs: 149 }))).toEqual([]);
    expect(decide(facts({ ...passed, nowMs: 150 }))).toEqual([
      { kind: 'advance-stage', to: 1, reason: 'PASS. Because.' },
    ]);
  });

  it('when the verdict is FAIL, it halts, also while it is paused, and wants the way back only with autoRevert', () => {
    const run = { startedAt: 0, evidence: evidence('FAIL') };
    for (const state of ['running', 'paused'] as const) {
      expect(decide(facts({ run, state }))).toEqual([{ kind: 'halt', reason: 'FAIL. Because.', revert: true }]);
    }
    expect(decide(facts({ run, autoRevert: false }))).toMatchObject([{ kind: 'halt', revert: false }]);
    expect(kinds(facts({ run, state: 'halted', revertWanted: true }))).toEqual(['begin-revert']);
    expect(kinds(facts({ run, state: 'halted' }))).toEqual([]);
  });

  it('when a device is silent in the last stage, a PASS does not complete the rollout', () => {
    const silent = device('b', { state: 'ordered' });
    const last = { stage: 1, devices: [succeeded, silent], run: { startedAt: 0, evidence: evidence('PASS') } };
    expect(kinds(facts({ ...last, nowMs: 500 }))).toEqual([]);
    expect(decide(facts({ ...last, nowMs: 1000 }))).toMatchObject([
      { kind: 'halt', reason: expect.stringMatching(/1 of 2 devices/) as string },
    ]);
    const heard = { ...silent, state: 'succeeded' as const, runs: CANDIDATE };
    expect(kinds(facts({ ...last, devices: [succeeded, heard], nowMs: 500 }))).toEqual(['complete']);
  });

  it('when a device committed and runs the release by its own signed word, it succeeds; by half of that, it does not', () => {
    const committed = { digest: CANDIDATE, result: 'committed', error: undefined } as const;
    const said = (changes: Partial<DeviceFacts>) =>
      decide(facts({ devices: [device('a', { state: 'updating', ...changes }), device('b')] }));
    expect(said({ outcome: committed, runs: CANDIDATE })).toMatchObject([{ kind: 'observe-device', event: 'succeed' }]);
    expect(said({ outcome: committed, runs: OLD })).toEqual([]);
    expect(said({ runs: CANDIDATE })).toEqual([]);
    expect(said({ outcome: { ...committed, result: 'fell-back' } })).toMatchObject([{ event: 'fail' }]);
    const expired = { code: 'DEPLOYMENT_EXPIRED', what: '', remedy: '' };
    expect(said({ outcome: { ...committed, result: 'refused', error: expired } })).toEqual([]);
  });

  it('when a device that had succeeded runs something else later, it failed', () => {
    expect(decide(facts({ devices: [{ ...succeeded, runs: OLD }, device('b')] }))).toMatchObject([
      { kind: 'observe-device', event: 'fail' },
    ]);
  });

  it('when all devices of a stage ran the release before, they are skipped and the next stage begins', () => {
    expect(decide(facts({ devices: [device('a', { runs: CANDIDATE }), device('b')] }))).toMatchObject([
      { event: 'skip' },
    ]);
    expect(decide(facts({ devices: [device('a', { state: 'skipped', runs: CANDIDATE }), device('b')] }))).toMatchObject(
      [{ kind: 'advance-stage', to: 1 }],
    );
  });

  it('when it reverts, all that have or may have the release are ordered back, and nobody else', () => {
    const devices = [
      succeeded,
      device('ordered', { state: 'ordered' }),
      device('updating', { state: 'updating' }),
      device('fell-back', { state: 'failed' }),
      device('unknown', { state: 'failed', runs: undefined }),
      device('waiting'),
      device('skipped', { state: 'skipped', runs: CANDIDATE }),
    ];
    expect(decide(facts({ state: 'reverting', devices }))).toEqual([
      { kind: 'revert-devices', devices: ['a', 'ordered', 'updating', 'unknown'] },
    ]);
  });

  it('when a device is on its way back, it is reverted only when it accepted the order, ended it, and runs what it ran', () => {
    const back = (changes: Partial<DeviceFacts>) =>
      decide(facts({ state: 'reverting', devices: [device('a', { state: 'reverting', ...changes })] }));
    expect(back({})).toEqual([]);
    expect(back({ acceptedRevert: true, runs: CANDIDATE })).toEqual([]);
    expect(back({ acceptedRevert: true })).toEqual([]);
    const ended = { digest: OLD, result: 'committed', error: undefined } as const;
    expect(back({ acceptedRevert: true, outcome: { ...ended, digest: CANDIDATE } })).toEqual([]);
    expect(back({ acceptedRevert: true, outcome: ended, runs: CANDIDATE })).toEqual([]);
    expect(back({ acceptedRevert: true, outcome: ended })).toMatchObject([{ event: 'confirm' }]);
    expect(kinds(facts({ state: 'reverting', devices: [device('a', { state: 'reverted' })] }))).toEqual([
      'finish-revert',
    ]);
  });

  it.each(['reverted', 'aborted', 'completed'] as const)('when it is %s, nothing is done any more', (state) => {
    expect(decide(facts({ state, run: { startedAt: 0, evidence: evidence('FAIL') } }))).toEqual([]);
  });
});
