import { describe, expect, it } from 'vitest';
import { UpdateState } from '@drover/shared/protocol';
import { nextState, stateRow, STATES, type UpdateEvent } from '../../src/update/states.js';

const names = (UpdateState as unknown as { enum: UpdateState[] }).enum;

describe('when the table of update states is read', () => {
  it('has a row for each name of the protocol and no other', () => {
    expect(Object.keys(STATES).sort()).toEqual([...names].sort());
  });

  it.each(names)('leads from %s back to idle along successes, and along failures', (start) => {
    for (const preferred of [['done'], ['failed', 'done']] satisfies UpdateEvent[][] as UpdateEvent[][]) {
      let state: UpdateState = start;
      for (let steps = 0; state !== 'idle' && steps < 12; steps += 1) {
        const event = preferred.find((candidate) => candidate in stateRow(state).on);
        state = nextState(state, event ?? 'done');
      }
      expect(state).toBe('idle');
    }
  });

  it('throws on an event that a state does not know', () => {
    expect(() => nextState('idle', 'done')).toThrow('"idle" does not know the event "done"');
    expect(() => nextState('falling-back', 'failed')).toThrow();
  });

  it('takes an interrupted update up in a state of the table', () => {
    for (const name of names) expect(names).toContain(nextState(name, 'interrupted'));
  });
});
