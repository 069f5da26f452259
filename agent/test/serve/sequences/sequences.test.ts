import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/host/clock.js';
import type { RunRequest } from '../../../src/serve/scheduling/run-queue.js';
import { Sequences, type SequenceRequest, type SequencesOptions } from '../../../src/serve/sequences/sequences.js';
import type { TensorMap } from '../../../src/serve/tensors/tensor.js';

const refusal = (code: string) => expect.objectContaining({ code }) as Error;
const numbers = (...data: number[]) => ({
  datatype: 'FP32' as const,
  shape: [data.length],
  data: Float32Array.from(data),
});
const STATE = { input: 's', output: 't', datatype: 'FP32' as const, shape: [-1], initial: { shape: [0] } };

/** Its state is all that it was given so far. */
const remembering = ({ inputs: { x, s } }: RunRequest): Promise<TensorMap> => {
  const seen = numbers(...((s?.data ?? []) as Float32Array), ...((x?.data ?? []) as Float32Array));
  return Promise.resolve({ y: seen, t: seen });
};
const sequencesOf = (options: Partial<SequencesOptions> = {}) =>
  new Sequences({
    model: 'remembering',
    definition: { states: [STATE], maxSequences: 10, idleTimeoutMs: 60_000 },
    clock: systemClock,
    isSuccessor: false,
    run: remembering,
    ...options,
  });
const request = (x: number, id: number, control: { isStart?: boolean; isEnd?: boolean } = {}): SequenceRequest => ({
  inputs: { x: numbers(x) },
  sequence: { id, isStart: false, isEnd: false, ...control },
});
const seen = async (answer: Promise<TensorMap>) => [...((await answer)['y']?.data as Float32Array)];

describe('the sequences of a model', () => {
  it('when requests of one come before the first is answered, they run one by one, and those of another beside them', async () => {
    const running: number[] = [];
    let most = 0;
    const finish: (() => void)[] = [];
    const sequences = sequencesOf({
      run: async (given) => {
        const x = Number(given.inputs['x']?.data[0]);
        running.push(x);
        most = Math.max(most, running.length);
        await new Promise<void>((resolve) => finish.push(resolve));
        running.splice(running.indexOf(x), 1);
        return remembering(given);
      },
    });
    const first = [1, 2, 3].map((x) => sequences.run(request(x, 1, { isStart: x === 1 })));
    const other = sequences.run(request(9, 2, { isStart: true }));
    await Promise.resolve();
    expect(running).toEqual([1, 9]);
    const progress = { isOver: false };
    const all = Promise.allSettled([...first, other]).then(() => (progress.isOver = true));
    while (!progress.isOver) {
      for (const each of finish.splice(0)) each();
      await Promise.resolve();
    }
    await all;
    expect(most).toBe(2);
    expect(await Promise.all([...first, other].map(seen))).toEqual([[1], [1, 2], [1, 2, 3], [9]]);
    sequences.close();
  });

  it('when a run fails, the state is as it was before it, but a start drops it', async () => {
    let isBroken = false;
    const sequences = sequencesOf({
      run: (given) => (isBroken ? Promise.reject(new Error('broken')) : remembering(given)),
    });
    await sequences.run(request(1, 1, { isStart: true }));
    isBroken = true;
    await expect(sequences.run(request(2, 1))).rejects.toThrow('broken');
    await expect(sequences.run(request(2, 1, { isEnd: true }))).rejects.toThrow('broken');
    isBroken = false;
    expect(await seen(sequences.run(request(3, 1)))).toEqual([1, 3]);
    isBroken = true;
    await expect(sequences.run(request(4, 1, { isStart: true }))).rejects.toThrow('broken');
    isBroken = false;
    expect(() => sequences.run(request(5, 1))).toThrow(refusal('SEQUENCE_UNKNOWN'));
    expect(sequences.size).toBe(0);
    sequences.close();
  });

  it('when a run that took its inputs away fails, the state is there all the same', async () => {
    let isBroken = false;
    const sequences = sequencesOf({
      run: async (given) => {
        const answer = await remembering(given);
        for (const { data } of Object.values(given.inputs)) structuredClone(data, { transfer: [(data as Float32Array<ArrayBuffer>).buffer] }); // prettier-ignore
        if (isBroken) throw new Error('broken');
        return answer;
      },
    });
    await sequences.run(request(1, 1, { isStart: true }));
    isBroken = true;
    await expect(sequences.run(request(2, 1))).rejects.toThrow('broken');
    isBroken = false;
    expect(await seen(sequences.run(request(3, 1)))).toEqual([1, 3]);
    sequences.close();
  });

  it('when a run takes longer than the idle time-out, its sequence is not idle', async () => {
    let nowMs = 0;
    let finish: (() => void) | undefined;
    const sequences = sequencesOf({
      clock: { now: () => nowMs, monotonic: () => nowMs, sleep: () => new Promise(() => undefined) },
      run: async (given) => {
        if (given.inputs['x']?.data[0] === 2) await new Promise<void>((resolve) => (finish = resolve));
        return remembering(given);
      },
    });
    await sequences.run(request(1, 1, { isStart: true }));
    const slow = sequences.run(request(2, 1));
    await nextTurn();
    nowMs = 120_000;
    await sequences.run(request(9, 2, { isStart: true }));
    const waiting = sequences.run(request(3, 1));
    finish?.();
    expect(await Promise.all([slow, waiting].map(seen))).toEqual([
      [1, 2],
      [1, 2, 3],
    ]);
    sequences.close();
  });

  it('when another has taken over, what was taken before is answered, and all else is lost, also a start', async () => {
    const sequences = sequencesOf();
    const before = [sequences.run(request(1, 1, { isStart: true })), sequences.run(request(2, 1))];
    sequences.close();
    expect(await Promise.all(before.map(seen))).toEqual([[1], [1, 2]]);
    for (const control of [{}, { isStart: true }])
      expect(() => sequences.run(request(3, 1, control))).toThrow(refusal('SEQUENCE_LOST'));
  });

  it('when a request waits behind one that ends the sequence, it finds none', async () => {
    const sequences = sequencesOf();
    const answers = [request(1, 1, { isStart: true, isEnd: true }), request(2, 1), request(3, 1, { isStart: true })];
    const [one, two, three] = answers.map((each) => sequences.run(each));
    await expect(two).rejects.toThrow(refusal('SEQUENCE_UNKNOWN'));
    expect(await Promise.all([one, three].map((each) => seen(each as Promise<TensorMap>)))).toEqual([[1], [3]]);
    sequences.close();
  });

  it('when states grow to more than is kept, the request that would pass the bound is refused, and changes nothing', async () => {
    const sequences = sequencesOf({ maxBytes: 4 * 4 });
    await sequences.run(request(1, 1, { isStart: true }));
    await sequences.run(request(2, 1));
    await sequences.run(request(7, 2, { isStart: true }));
    await sequences.run(request(8, 2));
    await expect(sequences.run(request(3, 1))).rejects.toThrow(refusal('SEQUENCE_LIMIT'));
    await expect(sequences.run(request(9, 3, { isStart: true }))).rejects.toThrow(refusal('SEQUENCE_LIMIT'));
    await sequences.run(request(9, 2, { isStart: true }));
    expect(await seen(sequences.run(request(4, 1)))).toEqual([1, 2, 4]);
    expect(await seen(sequences.run(request(5, 1, { isEnd: true })))).toEqual([1, 2, 4, 5]);
    expect(sequences.size).toBe(1);
    sequences.close();
  });

  it('when too many wait, more are refused', async () => {
    const sequences = sequencesOf({ maxWaiting: 2 });
    const waiting = [sequences.run(request(1, 1, { isStart: true })), sequences.run(request(2, 1))];
    expect(() => sequences.run(request(3, 1))).toThrow(refusal('SERVE_OVERLOADED'));
    await Promise.all(waiting);
    expect(await seen(sequences.run(request(3, 1)))).toEqual([1, 2, 3]);
    sequences.close();
  });

  it('when nobody asks any more, the memory of idle sequences comes back all the same', async () => {
    let nowMs = 0;
    let wake: (() => void) | undefined;
    const clock = {
      now: () => nowMs,
      monotonic: () => nowMs,
      sleep: () => new Promise<void>((resolve) => (wake = resolve)),
    };
    const sequences = sequencesOf({ clock });
    await sequences.run(request(1, 1, { isStart: true }));
    nowMs = 60_000;
    wake?.();
    await nextTurn();
    expect(sequences.size).toBe(0);
    expect(() => sequences.run(request(2, 1))).toThrow(refusal('SEQUENCE_UNKNOWN'));
    sequences.close();
  });
});
