import { beforeEach, describe, expect, it } from 'vitest';
import { Ledger, type Kind, type Observation } from '../../src/chaos/control-plane/ledger.js';

let ledger: Ledger;
beforeEach(() => void (ledger = new Ledger()));

interface Facts {
  readonly things?: Partial<Record<Kind, string[]>>;
  readonly rollouts?: Record<string, string>;
  readonly isAuditIntact?: boolean;
}
const observation = ({ things = {}, rollouts = {}, isAuditIntact = true }: Facts): Observation => ({
  things: new Map(Object.entries({ token: [], ...things }) as [Kind, string[]][]),
  rolloutStates: new Map(Object.entries(rollouts)),
  isAuditIntact,
});
const judge = (facts: Facts): string[] => ledger.judge(observation(facts)).map(({ kind }) => kind);
const order = {
  device: 'pump',
  model: 'health',
  epoch: 1,
  counter: 7,
  deploymentId: 'a',
  rolloutId: 'r',
  isRevert: false,
};
const take = (change: Partial<typeof order>): string[] =>
  ledger.takeOrder({ ...order, ...change }).map(({ kind }) => kind);

describe('when what a control plane has is judged', () => {
  it('may have what was given and not acknowledged, once', () => {
    ledger.give('token', 'a');
    expect(judge({})).toEqual([]);
    expect(judge({ things: { token: ['a'] } })).toEqual([]);
    expect(judge({ things: { token: ['a', 'a'] } })).toEqual(['repeated']);
  });

  it('must have what it acknowledged', () => {
    ledger.give('report', 'a');
    ledger.acknowledge('report', 'a');
    expect(judge({ things: { report: [] } })).toEqual(['lost']);
    expect(judge({ things: { report: ['a', 'a'] } })).toEqual(['repeated']);
    expect(judge({ things: { report: ['a'] } })).toEqual([]);
  });

  it('must not have what it has removed', () => {
    ledger.give('token', 'a');
    ledger.acknowledge('token', 'a');
    ledger.giveRemoval('token', 'a');
    expect(judge({ things: { token: ['a'] } })).toEqual([]);
    ledger.acknowledgeRemoval('token', 'a');
    expect(judge({ things: { token: ['a'] } })).toEqual(['lost']);
  });

  it('keeps rollouts as they were steered, and a steering without an answer is done or not', () => {
    ledger.acknowledgeSteering('1.0.0', 'paused');
    expect(judge({ rollouts: { '1.0.0': 'running' } })).toEqual(['lost']);
    expect(judge({})).toEqual(['lost']);
    ledger.giveSteering('1.0.0', 'aborted');
    expect(judge({ rollouts: { '1.0.0': 'paused' } })).toEqual([]);
    expect(judge({ rollouts: { '1.0.0': 'aborted' } })).toEqual([]);
    // Once it was seen to be done, it stays done.
    expect(judge({ rollouts: { '1.0.0': 'paused' } })).toEqual(['lost']);
  });

  it('keeps its audit log whole', () => {
    expect(judge({ isAuditIntact: false })).toEqual(['broken']);
  });

  it('gives no number to two orders, and no device two orders of one rollout', () => {
    expect(take({})).toEqual([]);
    expect(take({})).toEqual([]);
    expect(take({ deploymentId: 'b', rolloutId: 's' })).toEqual(['repeated']);
    expect(take({ deploymentId: 'c', counter: 8 })).toEqual(['repeated']);
    expect(take({ deploymentId: 'd', counter: 9, isRevert: true })).toEqual([]);
    expect(take({ deploymentId: 'e', counter: 7, epoch: 2, rolloutId: 't' })).toEqual([]);
  });
});
