import { beforeEach, describe, expect, it } from 'vitest';
import { Ledger, type Kind, type Observation } from '../../src/chaos/control-plane/ledger.js';
import { OrderBook } from '../../src/chaos/control-plane/order-book.js';
import type { RolloutState } from '../../src/chaos/control-plane/steering.js';

let ledger: Ledger;
let orders: OrderBook;
beforeEach(() => {
  ledger = new Ledger();
  orders = new OrderBook();
});

interface Facts {
  readonly things?: Partial<Record<Kind, string[]>>;
  readonly rollouts?: Record<string, RolloutState>;
  readonly isAuditIntact?: boolean;
}
const observation = ({ things = {}, rollouts = {}, isAuditIntact = true }: Facts): Observation => ({
  things: new Map(Object.entries({ token: [], 'audit entry': [], ...things }) as [Kind, string[]][]),
  rolloutStates: new Map(Object.entries(rollouts)),
  isAuditIntact,
});
const judge = (facts: Facts): string[] => ledger.judge(observation(facts)).map(({ kind }) => kind);
const token = (name: string) => ({ kind: 'token', name }) as const;
const audited = { ...token('a'), entries: ['token.create a'] };

describe('when what a control plane has is judged', () => {
  it.each([
    { now: 'there', names: ['a'], otherwise: [] },
    { now: 'gone', names: [], otherwise: ['a'] },
  ])('a command without an answer is carried out or not: it stays $now', ({ names, otherwise }) => {
    ledger.give(token('a'));
    expect(judge({ things: { token: names } })).toEqual([]);
    expect(judge({ things: { token: names } })).toEqual([]);
    expect(judge({ things: { token: otherwise } })).toEqual(['lost']);
  });

  it('must have once what it acknowledged', () => {
    ledger.give(token('a'));
    ledger.acknowledge(token('a'));
    expect(judge({ things: { token: ['a'] } })).toEqual([]);
    expect(judge({ things: { token: ['a', 'a'] } })).toEqual(['repeated']);
    expect(judge({})).toEqual(['lost']);
  });

  it('must not have what nobody asked for, nor twice what nobody got an answer to', () => {
    ledger.give(token('a'));
    expect(judge({ things: { token: ['a', 'a', 'b'] } })).toEqual(['repeated', 'repeated']);
  });

  it('may have one thing more of those that are named by the answer, where there was none', () => {
    ledger.giveUnnamed('online key');
    ledger.giveUnnamed('online key');
    ledger.acknowledgeUnnamed('online key', 'a');
    expect(judge({ things: { 'online key': ['a', 'b'] } })).toEqual([]);
    expect(judge({ things: { 'online key': ['a', 'b', 'c'] } })).toEqual(['repeated']);
  });

  it('must not have what it has removed', () => {
    ledger.acknowledge(token('a'));
    ledger.giveRemoval(token('a'));
    ledger.acknowledgeRemoval(token('a'));
    expect(judge({ things: { token: ['a'] } })).toEqual(['lost']);
  });

  it('may have removed what it was asked to remove', () => {
    ledger.acknowledge(token('a'));
    ledger.giveRemoval(token('a'));
    expect(judge({})).toEqual([]);
    expect(judge({ things: { token: ['a'] } })).toEqual(['lost']);
  });

  it('may get again what did not arrive before', () => {
    ledger.give(token('a'));
    expect(judge({})).toEqual([]);
    ledger.give(token('a'));
    expect(judge({ things: { token: ['a'] } })).toEqual([]);
  });

  it('has an entry in its audit log for all that it acknowledged', () => {
    ledger.give(audited);
    ledger.acknowledge(audited);
    expect(judge({ things: { token: ['a'] } })).toEqual(['lost']);
  });

  it.each([
    { what: 'a thing without its entry', things: { token: ['a'] } },
    { what: 'an entry without its thing', things: { 'audit entry': ['token.create a'] } },
  ])('has no $what, also where nobody got an answer', ({ things }) => {
    ledger.give(audited);
    expect(judge({ things })).toEqual(['broken']);
  });

  it('has a removal in its audit log if it was done', () => {
    ledger.acknowledge(token('a'));
    ledger.giveRemoval({ ...token('a'), entries: ['token.delete a'] });
    expect(judge({})).toEqual(['broken']);
  });

  it('keeps its audit log whole', () => {
    expect(judge({ isAuditIntact: false })).toEqual(['broken']);
  });
});

describe('when the rollouts that a control plane has are judged', () => {
  const steering = (to: RolloutState) => ({ to, entry: to });
  const state = (now: RolloutState, ...entries: string[]): string[] =>
    judge({ rollouts: { '1.0.0': now }, things: { 'audit entry': entries } });

  it('they stay as they were steered', () => {
    ledger.acknowledgeSteering('1.0.0', steering('paused'));
    expect(state('running', 'paused')).toEqual(['lost']);
  });

  it.each([
    { seen: 'paused', entries: ['paused'], otherwise: 'aborted' },
    { seen: 'aborted', entries: ['paused', 'aborted'], otherwise: 'paused' },
  ] as const)('a steering without an answer is done or not: it stays $seen', ({ seen, entries, otherwise }) => {
    ledger.acknowledgeSteering('1.0.0', steering('paused'));
    ledger.giveSteering('1.0.0', steering('aborted'));
    expect(state(seen, ...entries)).toEqual([]);
    expect(state(seen, ...entries)).toEqual([]);
    expect(state(otherwise, ...entries)).toEqual(['lost']);
  });

  it.each([
    { seen: 'paused', entries: ['paused', 'aborted'] },
    { seen: 'aborted', entries: ['paused'] },
  ] as const)('a steering is in the audit log if it was done, and only then: $seen', ({ seen, entries }) => {
    ledger.acknowledgeSteering('1.0.0', steering('paused'));
    ledger.giveSteering('1.0.0', steering('aborted'));
    expect(state(seen, ...entries)).toEqual(['broken']);
  });

  it('a steering that was refused was not done', () => {
    ledger.acknowledgeSteering('1.0.0', steering('paused'));
    ledger.giveSteering('1.0.0', steering('aborted'));
    ledger.refuseSteering('1.0.0');
    expect(state('aborted', 'paused', 'aborted')).toEqual(['lost', 'lost']);
  });

  it('they go on by themselves, and not back', () => {
    ledger.giveSteering('1.0.0', steering('running'));
    ledger.acknowledgeSteering('1.0.0', steering('running'));
    expect(state('completed', 'running')).toEqual([]);
    expect(state('running', 'running')).toEqual(['lost']);
    expect(state('reverting', 'running')).toEqual(['lost']);
  });
});

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
  orders.take({ ...order, ...change }).violations.map(({ kind }) => kind);

describe('when the orders that devices received are judged', () => {
  it('one may come twice', () => {
    expect(orders.take(order)).toEqual({ isNew: true, violations: [] });
    expect(orders.take(order)).toEqual({ isNew: false, violations: [] });
  });

  it('no number stands for two orders', () => {
    expect(take({})).toEqual([]);
    expect(take({ deploymentId: 'b', rolloutId: 's' })).toEqual(['repeated', 'broken']);
    expect(take({ deploymentId: 'e', counter: 7, epoch: 2, rolloutId: 't' })).toEqual([]);
  });

  it('no order has two numbers', () => {
    expect(take({})).toEqual([]);
    expect(take({ counter: 8 })).toEqual(['repeated', 'repeated']);
  });

  it('no rollout orders twice, but back', () => {
    expect(take({})).toEqual([]);
    expect(take({ deploymentId: 'c', counter: 8 })).toEqual(['repeated']);
    expect(take({ deploymentId: 'd', counter: 9, isRevert: true })).toEqual([]);
  });

  it('no device is ordered behind what it has carried out', () => {
    expect(take({ counter: 9 })).toEqual([]);
    expect(take({ counter: 8, deploymentId: 'b', rolloutId: 's' })).toEqual(['broken']);
  });
});
