import { describe, expect, it } from 'vitest';
import { createClosers } from '../../src/supervisor/closers.js';

describe('createClosers', () => {
  it('when it closes, it undoes the newest first, each once, however often it is asked', async () => {
    const closed: string[] = [];
    const closers = createClosers();
    closers.add(() => void closed.push('first'));
    closers.add(async () => {
      await Promise.resolve();
      closed.push('second');
    });
    await Promise.all([closers.close(), closers.close()]);
    await closers.close();
    expect(closed).toEqual(['second', 'first']);
  });

  it('when one throws, the others are closed all the same, and the first failure is told', async () => {
    const closed: string[] = [];
    const closers = createClosers();
    closers.add(() => void closed.push('a'));
    closers.add(() => Promise.reject(new Error('later')));
    closers.add(() => {
      throw new Error('sooner');
    });
    await expect(closers.close()).rejects.toThrow('sooner');
    expect(closed).toEqual(['a']);
  });
});
