import { describe, expect, it } from 'vitest';
import { createProblems } from '../../src/supervisor/problems.js';

const problem = (code: string, what = 'x') => ({ code, what, remedy: 'y' });

describe('createProblems', () => {
  it('when one problem comes every second, it does not push out the others', () => {
    const problems = createProblems();
    problems.add(problem('DISK_FULL'));
    for (let second = 0; second < 100; second++) problems.add(problem('LINK_LOST', `after ${second} s`));
    expect(problems.last()).toEqual([problem('DISK_FULL'), problem('LINK_LOST', 'after 99 s')]);
  });

  it('when many differ, the last ten are kept', () => {
    const problems = createProblems();
    for (let index = 0; index < 25; index++) problems.add(problem(`CODE_${index}`));
    expect(problems.last().map(({ code }) => code)).toEqual(Array.from({ length: 10 }, (_, at) => `CODE_${at + 15}`));
  });
});
