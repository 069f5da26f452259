import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { AcceptTurns } from '../../../src/serve/lanes/accept-turns.js';

const connection = () => new EventEmitter();

describe('threads that accept from the same queue', () => {
  it('when one is ahead of another, it lets others go first, and does not once they have caught up', () => {
    const first = AcceptTurns.among(2);
    const second = new AcceptTurns(first.shared, 1);
    expect([first, first, first].map((turns) => turns.taken(connection()))).toEqual([false, true, true]);
    expect([second, second].map((turns) => turns.taken(connection()))).toEqual([false, false]);
    expect(first.taken(connection())).toBe(true);
  });

  it('when its connections end, it is ahead no longer', () => {
    const turns = AcceptTurns.among(2);
    const ended = connection();
    turns.taken(ended);
    ended.emit('close');
    expect(turns.taken(connection())).toBe(false);
  });

  it('when it is the only one, it never waits', () => {
    const turns = AcceptTurns.among(1);
    expect(Array.from({ length: 5 }, () => turns.taken(connection()))).not.toContain(true);
  });
});
