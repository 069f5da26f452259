import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ModelSession } from '../../src/serve/session/model-session.js';
import { hasBatchAxis, joinRows, splitRows } from '../../src/serve/scheduling/batch.js';
import { RunQueue, type RunRequest } from '../../src/serve/scheduling/run-queue.js';
import type { TensorMap } from '../../src/serve/tensors/tensor.js';

const rowsInput = (rows: readonly number[]): TensorMap => ({
  x: { datatype: 'FP32', shape: [rows.length, 2], data: Float32Array.from(rows.flatMap((row) => [row, row + 0.5])) },
});
const answerOf = (outputs: TensorMap): number[] => Array.from(outputs['y']?.data ?? [], Number);
const doubled = (inputs: TensorMap): TensorMap => {
  const { shape = [], data = [] } = inputs['x'] ?? {};
  return { y: { datatype: 'FP32', shape, data: Float32Array.from(data as Float32Array, (value) => 2 * value) } };
};

/** A session that runs when it is told to. */
function heldSession() {
  const runs: { readonly inputs: TensorMap; finish: () => void; fail: (error: Error) => void }[] = [];
  const session: ModelSession = {
    run: (inputs) =>
      new Promise((resolve, reject) => {
        runs.push({ inputs, finish: () => resolve(doubled(inputs)), fail: reject });
      }),
    close: () => Promise.resolve(),
  };
  return { session, runs };
}
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the queue of a model', () => {
  it('when requests of any sizes and priorities come at any time, each gets the answer to its own rows', async () => {
    const request = fc.record({
      rows: fc.array(fc.integer({ min: 0, max: 1_000 }), { minLength: 1, maxLength: 4 }),
      priority: fc.integer({ min: 1, max: 10 }),
      pause: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(request, { maxLength: 30 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 8 }),
        async (requests, lanes, maxRows) => {
          let running = 0;
          const session: ModelSession = {
            async run(inputs) {
              running += 1;
              expect(running).toBeLessThanOrEqual(lanes);
              const rows = inputs['x']?.shape[0] ?? 0;
              expect(rows).toBeLessThanOrEqual(Math.max(maxRows, 4));
              await tick();
              running -= 1;
              return doubled(inputs);
            },
            close: () => Promise.resolve(),
          };
          const growth = { maxSessions: lanes, open: () => Promise.resolve({ ...session }) };
          const queue = new RunQueue({ session, growth, maxWaiting: 100, batching: { maxRows, maxDelayMs: 0 } });
          const answers: Promise<TensorMap>[] = [];
          for (const { rows, priority, pause } of requests) {
            answers.push(queue.run({ inputs: rowsInput(rows), priority }));
            if (pause) await tick();
          }
          const expected = requests.map(({ rows }) => rows.flatMap((row) => [2 * row, 2 * row + 1]));
          expect((await Promise.all(answers)).map(answerOf)).toEqual(expected);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('when requests wait, the highest priority goes first, and of equal ones the oldest', async () => {
    const { session, runs } = heldSession();
    const queue = new RunQueue({ session, maxWaiting: 10 });
    const order: number[] = [];
    const ask = (row: number, priority?: number) =>
      queue.run({ inputs: rowsInput([row]), priority }).then(() => order.push(row));
    const all = [ask(0), ask(1), ask(2, 9), ask(3, 1), ask(4), ask(5, 1)];
    for (let run = 0; run < all.length; run++) {
      runs[run]?.finish();
      await tick();
    }
    await Promise.all(all);
    expect(order).toEqual([0, 3, 5, 1, 4, 2]);
  });

  it('when more wait than may, they are refused at once, and the others go on', async () => {
    const { session, runs } = heldSession();
    const queue = new RunQueue({ session, maxWaiting: 1 });
    const kept = [queue.run({ inputs: rowsInput([1]) }), queue.run({ inputs: rowsInput([2]) })];
    await expect(queue.run({ inputs: rowsInput([3]) })).rejects.toMatchObject({ code: 'SERVE_OVERLOADED' });
    runs[0]?.finish();
    await tick();
    runs[1]?.finish();
    expect((await Promise.all(kept)).map(answerOf)).toEqual([[2, 3], [4, 5]]); // prettier-ignore
  });

  it.each<[string, (stop: AbortController) => Partial<RunRequest>, string]>([
    ['its deadline passes', () => ({ deadlineMs: performance.now() + 20 }), 'REQUEST_EXPIRED'],
    ['its client goes', ({ signal }) => ({ signal }), 'REQUEST_CANCELLED'],
  ])('when %s while it waits, it is never run', async (_, change, code) => {
    const { session, runs } = heldSession();
    const queue = new RunQueue({ session, maxWaiting: 5 });
    const stop = new AbortController();
    const first = queue.run({ inputs: rowsInput([1]) });
    const dropped = queue.run({ inputs: rowsInput([2]), ...change(stop) });
    const last = queue.run({ inputs: rowsInput([3]) });
    setTimeout(() => stop.abort(), 20);
    await expect(dropped).rejects.toMatchObject({ code });
    expect(queue.waiting).toBe(1);
    runs[0]?.finish();
    await first;
    await tick();
    runs[1]?.finish();
    expect(answerOf(await last)).toEqual([6, 7]);
    expect(runs).toHaveLength(2);
  });

  it('when a session is free, a run waits for more rows, but not longer than it may', async () => {
    const { session, runs } = heldSession();
    const queue = new RunQueue({ session, maxWaiting: 10, batching: { maxRows: 3, maxDelayMs: 50 } });
    const startedMs = performance.now();
    const two = [queue.run({ inputs: rowsInput([1]) }), queue.run({ inputs: rowsInput([2]) })];
    await tick();
    expect(runs).toHaveLength(0);
    while (runs.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(49);
    expect(runs[0]?.inputs['x']?.shape).toEqual([2, 2]);
    runs[0]?.finish();
    await Promise.all(two);
    const three = [1, 2, 3].map((row) => queue.run({ inputs: rowsInput([row]) }));
    expect(runs[1]?.inputs['x']?.shape).toEqual([3, 2]);
    runs[1]?.finish();
    await Promise.all(three);
  });

  it('when requests wait, further sessions are opened, as many as may be, and all are closed at the end', async () => {
    const opened: { closed: boolean; runs: number }[] = [];
    const open = (): ModelSession => {
      const facts = { closed: false, runs: 0 };
      opened.push(facts);
      return {
        async run(inputs) {
          facts.runs += 1;
          await tick();
          return doubled(inputs);
        },
        close: () => Promise.resolve(void (facts.closed = true)),
      };
    };
    const growth = { maxSessions: 3, open: () => Promise.resolve(open()) };
    const queue = new RunQueue({ session: open(), growth, maxWaiting: 100 });
    await queue.run({ inputs: rowsInput([1]) });
    expect(opened).toHaveLength(1);
    await Promise.all(Array.from({ length: 50 }, (_, row) => queue.run({ inputs: rowsInput([row]) })));
    expect(opened.map(({ runs }) => runs > 5)).toEqual([true, true, true]);
    await queue.close();
    expect(opened.every(({ closed }) => closed)).toBe(true);
  });

  it('when no further session can be opened, it goes on with those that are there, and does not try again', async () => {
    let tries = 0;
    const growth = { maxSessions: 3, open: () => Promise.resolve(void (tries += 1)) };
    const session: ModelSession = {
      run: async (inputs) => (await tick(), doubled(inputs)),
      close: () => Promise.resolve(),
    };
    const queue = new RunQueue({ session, growth, maxWaiting: 100 });
    await Promise.all(Array.from({ length: 10 }, (_, row) => queue.run({ inputs: rowsInput([row]) })));
    expect(tries).toBe(1);
  });

  it('when many requests share a signal, as in a stream, none of them stays with it', async () => {
    const session: ModelSession = {
      run: (inputs) => Promise.resolve(doubled(inputs)),
      close: () => Promise.resolve(),
    };
    const queue = new RunQueue({ session, maxWaiting: 10 });
    const { signal } = new AbortController();
    for (let row = 0; row < 20; row++) await queue.run({ inputs: rowsInput([row]), signal });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('when a joint run fails, each is run alone, so that one bad request fails by itself', async () => {
    const session: ModelSession = {
      run: (inputs) =>
        [...(inputs['x']?.data ?? [])].includes(666)
          ? Promise.reject(new Error('bad row'))
          : Promise.resolve(doubled(inputs)),
      close: () => Promise.resolve(),
    };
    const queue = new RunQueue({ session, maxWaiting: 10, batching: { maxRows: 8, maxDelayMs: 10 } });
    const outcomes = await Promise.allSettled([1, 666, 3].map((row) => queue.run({ inputs: rowsInput([row]) })));
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });
});

describe('rows of several requests', () => {
  it('when joined and split, they are what they were, strings too', () => {
    const inputs = (rows: number, start: number): TensorMap => ({
      a: { datatype: 'INT64', shape: [rows, 2], data: BigInt64Array.from({ length: 2 * rows }, (_, index) => BigInt(start + index)) }, // prettier-ignore
      b: { datatype: 'BYTES', shape: [rows], data: Array.from({ length: rows }, (_, index) => String(start + index)) },
    });
    const sizes = [1, 3, 2];
    const parts = sizes.map((rows, index) => inputs(rows, 10 * index));
    const split = splitRows(joinRows(parts), sizes) ?? [];
    for (const [index, part] of parts.entries()) {
      expect(split[index]?.['a']?.shape).toEqual(part['a']?.shape);
      expect([...(split[index]?.['a']?.data ?? [])]).toEqual([...(part['a']?.data ?? [])]);
      expect(split[index]?.['b']).toEqual(part['b']);
    }
  });

  it('when an output has not as many rows, nothing is split', () => {
    expect(splitRows({ y: { datatype: 'FP32', shape: [1], data: new Float32Array(1) } }, [1, 1])).toBeUndefined();
  });

  it('when any input or output has a fixed first axis, rows are not joined', () => {
    const tensor = (shape: number[]) => ({ name: 't', datatype: 'FP32', shape }) as const;
    expect(hasBatchAxis({ inputs: [tensor([-1, 4])], outputs: [tensor([-1])] })).toBe(true);
    expect(hasBatchAxis({ inputs: [tensor([-1, 4])], outputs: [tensor([1])] })).toBe(false);
    expect(hasBatchAxis({ inputs: [tensor([])], outputs: [] })).toBe(false);
  });
});
