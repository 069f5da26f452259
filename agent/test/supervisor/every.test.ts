import { describe, expect, it } from 'vitest';
import { every } from '../../src/supervisor/every.js';
import { AgentError } from '../../src/supervisor/errors.js';

const coded = (what: string) => new AgentError('AGENT_NOT_RUNNING', what, { remedy: 'Start it.' });

/** Acts once per entry, throwing what it holds; the clock stops the loop after the last. */
async function turns(outcomes: readonly (Error | undefined)[]) {
  const told: unknown[] = [];
  const pausesMs: number[] = [];
  let turn = 0;
  let allDone: () => void;
  const done = new Promise<void>((resolve) => (allDone = resolve));
  const stop = every({
    intervalMs: 1_000,
    clock: {
      async sleep(ms, signal) {
        pausesMs.push(ms);
        if (turn < outcomes.length) return;
        allDone();
        await new Promise((_, reject) => signal?.addEventListener('abort', () => reject(new Error('stopped'))));
      },
    },
    act: () => {
      const outcome = outcomes[turn++];
      return outcome ? Promise.reject(outcome) : Promise.resolve();
    },
    onError: (error) => told.push(error),
  });
  await done;
  await stop();
  return { told, pausesMs, turns: turn };
}

describe('every', () => {
  it('when turns succeed, it acts again after the interval until it is stopped', async () => {
    expect(await turns([undefined, undefined, undefined])).toEqual({
      told: [],
      pausesMs: [1_000, 1_000, 1_000],
      turns: 3,
    });
  });

  it('when one kind of complaint comes again with other figures, it is told once, and again after a success', async () => {
    const { told } = await turns([
      coded('at 1'),
      coded('at 2'),
      new Error('x'),
      coded('at 3'),
      undefined,
      coded('at 4'),
    ]);
    expect(told.map((error) => (error as Error).message)).toEqual(['at 1', 'x', 'at 4']);
  });

  it('when it fails again and again, it turns slower, up to 30 s, and at its pace after a success', async () => {
    const failures = Array.from({ length: 7 }, () => new Error('x'));
    const { pausesMs } = await turns([...failures, undefined]);
    expect(pausesMs).toEqual([2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 1_000]);
  });

  it('when it is stopped during a turn, it waits for the turn and begins no other', async () => {
    let finish: () => void = () => undefined;
    let begun = 0;
    const stop = every({
      intervalMs: 1,
      clock: { sleep: () => Promise.resolve() },
      act: () => {
        begun += 1;
        return new Promise<void>((resolve) => (finish = resolve));
      },
      onError: () => undefined,
    });
    let isStopped = false;
    const stopping = stop().then(() => (isStopped = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(isStopped).toBe(false);
    finish();
    await stopping;
    expect(begun).toBe(1);
  });
});
