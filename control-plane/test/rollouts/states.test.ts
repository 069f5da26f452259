import { describe, expect, it } from 'vitest';
import {
  DEVICE_TRANSITIONS,
  nextDeviceState,
  nextRolloutState,
  ROLLOUT_TRANSITIONS,
  type RolloutDeviceEvent,
  type RolloutDeviceState,
  type RolloutEvent,
  type RolloutState,
} from '../../src/rollouts/states.js';

const ROLLOUT_EVENTS: readonly RolloutEvent[] = ['pause', 'resume', 'halt', 'revert', 'confirm', 'abort', 'complete'];
const DEVICE_EVENTS: readonly RolloutDeviceEvent[] = [
  'order',
  'skip',
  'progress',
  'succeed',
  'fail',
  'revert',
  'confirm',
];

describe('the states of rollouts', () => {
  it('keeps its persisted names', () => {
    expect(Object.keys(ROLLOUT_TRANSITIONS)).toEqual([
      'running',
      'paused',
      'halted',
      'reverting',
      'reverted',
      'aborted',
      'completed',
    ]);
    expect(Object.keys(DEVICE_TRANSITIONS)).toEqual([
      'waiting',
      'ordered',
      'updating',
      'succeeded',
      'failed',
      'reverting',
      'reverted',
      'skipped',
    ]);
  });

  it('when an event is not in the table, it throws, in every state', () => {
    for (const [state, on] of Object.entries(ROLLOUT_TRANSITIONS)) {
      for (const event of ROLLOUT_EVENTS.filter((name) => !Object.hasOwn(on, name))) {
        expect(() => nextRolloutState(state as RolloutState, event)).toThrow(
          expect.objectContaining({ code: 'ROLLOUT_TRANSITION_REFUSED' }),
        );
      }
    }
    for (const [state, on] of Object.entries(DEVICE_TRANSITIONS)) {
      for (const event of DEVICE_EVENTS.filter((name) => !Object.hasOwn(on, name))) {
        expect(() => nextDeviceState(state as RolloutDeviceState, event)).toThrow(
          expect.objectContaining({ code: 'ROLLOUT_TRANSITION_REFUSED' }),
        );
      }
    }
  });

  it('when a rollout halted, nothing but a revert, a resume or an abort leads on: never straight to completed', () => {
    expect(ROLLOUT_TRANSITIONS.halted).toEqual({ resume: 'running', abort: 'aborted', revert: 'reverting' });
  });
});
