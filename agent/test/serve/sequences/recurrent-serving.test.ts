import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ModelName } from '@drover/shared/ids';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Clock } from '../../../src/host/clock.js';
import { systemClock } from '../../../src/host/clock.js';
import { InlineServing, type InferenceRequest } from '../../../src/serve/inline/index.js';
import type { SequenceControl } from '../../../src/serve/sequences/sequences.js';
import { openWorkerSession } from '../../../src/serve/session/worker-session.js';
import { memoryRecorder } from '../memory-recorder.js';
import { installRecurrent, WIDTH, type Recurrent, type Step } from './installed-recurrent.js';

const { signal } = new AbortController();
const directory = mkdtempSync(join(tmpdir(), 'drover-recurrent-'));
const opened: { close(): Promise<void> }[] = [];
let recurrent: Recurrent;

const recorder = memoryRecorder();
const serve = (options: { clock?: Clock; isRestart?: boolean; workers?: boolean } = {}): InlineServing => {
  const onIncident = (error: unknown) => {
    throw error;
  };
  const open = (model: Parameters<typeof openWorkerSession>[0]) =>
    openWorkerSession(model, { providers: ['cpu'], onLost: onIncident });
  const serving = new InlineServing({
    providers: ['cpu'],
    hardwareClass: 'generic',
    clock: options.clock ?? systemClock,
    recorder,
    isRestart: options.isRestart ?? false,
    onIncident,
    ...(options.workers && {
      open: async (model) => ({
        ...(await open(model)),
        growth: { maxSessions: 2, open: async () => (await open(model)).session },
      }),
    }),
  });
  opened.push(serving);
  return serving;
};
const ask = async (
  serving: InlineServing,
  x: readonly number[],
  sequence: SequenceControl | undefined,
  change: Partial<InferenceRequest> = {},
): Promise<Step> => {
  const { outputs } = await serving.infer({
    model: ModelName('recurrent'),
    requestId: 'r',
    inputs: { x: { datatype: 'FP32', shape: [1, WIDTH], data: Float32Array.from(x) } },
    ...(sequence && { sequence }),
    ...change,
  });
  expect(Object.keys(outputs)).toEqual(['y', 'steps']);
  return { y: [...(outputs['y']?.data as Float32Array)], steps: Number(outputs['steps']?.data[0]) };
};
const start = (id: number | string) => ({ id, isStart: true, isEnd: false });
const next = (id: number | string) => ({ id, isStart: false, isEnd: false });
const end = (id: number | string) => ({ id, isStart: false, isEnd: true });
const refusal = (code: string) => expect.objectContaining({ code }) as Error;

/** Stands still until it is moved on; whoever sleeps wakes then. */
const manualClock = () => {
  let nowMs = 0;
  const sleepers = new Set<() => void>();
  return {
    now: () => nowMs,
    monotonic: () => nowMs,
    sleep: (ms: number, until?: AbortSignal) =>
      new Promise<void>((resolve, reject) => {
        const wakeMs = nowMs + ms;
        const wake = () => {
          if (nowMs < wakeMs) return;
          sleepers.delete(wake);
          resolve();
        };
        sleepers.add(wake);
        until?.addEventListener('abort', () => reject(new Error('over')));
      }),
    advance(ms: number) {
      nowMs += ms;
      for (const wake of sleepers) wake();
    },
  };
};

beforeAll(async () => {
  recurrent = await installRecurrent({ directory: join(directory, 'first') });
});
afterAll(async () => {
  for (const each of opened) await each.close();
  await recurrent.close();
  rmSync(directory, { recursive: true });
});

const row = fc.array(fc.integer({ min: -4, max: 4 }), { minLength: WIDTH, maxLength: WIDTH });
/** Some sequences, and the order in which their requests come. */
const interleaving = fc
  .array(fc.array(row, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 5 })
  .chain((sequences) => {
    const turns = sequences.flatMap((rows, index) => rows.map(() => index));
    const order = fc.shuffledSubarray(turns, { minLength: turns.length, maxLength: turns.length });
    return fc.record({ sequences: fc.constant(sequences), order });
  });

describe('a recurrent model', () => {
  it.each([
    ['one session', false, 60],
    ['two sessions on threads of their own', true, 25],
  ])('when sequences interleave in whatever order, in %s, each is answered as if it were alone', async (_, workers, numRuns) => {
    const serving = serve({ workers });
    await serving.activate(recurrent.installed, signal);
    await fc.assert(
      fc.asyncProperty(interleaving, fc.boolean(), async ({ sequences, order }, isWaiting) => {
        const taken = sequences.map(() => 0);
        const answers = sequences.map((): Promise<Step>[] => []);
        for (const index of order) {
          const rows = sequences[index] ?? [];
          const at = taken[index] ?? 0;
          taken[index] = at + 1;
          const control = { id: index + 1, isStart: at === 0, isEnd: at === rows.length - 1 };
          const answer = ask(serving, rows[at] ?? [], control);
          answers[index]?.push(answer);
          if (isWaiting) await answer;
        }
        for (const [index, rows] of sequences.entries())
          expect(await Promise.all(answers[index] ?? [])).toEqual(await recurrent.alone(rows));
      }),
      { numRuns },
    );
  }, 60_000); // prettier-ignore

  it('when its golden vectors are run, each begins with the initial state, also one that a file holds', async () => {
    const initial = Float32Array.of(0.5, -0.5, 0.25, 1);
    const other = await installRecurrent({ directory: join(directory, 'asset'), initial });
    opened.push(other);
    const serving = serve();
    for (const { installed } of [recurrent, other])
      expect(await serving.selfTest(installed, signal)).toMatchObject({ worstDifference: 0 });
    await serving.activate(other.installed, signal);
    const rows = [[1, 2, 3], [3, 2, 1]]; // prettier-ignore
    expect([await ask(serving, rows[0] ?? [], start(1)), await ask(serving, rows[1] ?? [], end(1))]).toEqual(
      await other.alone(rows),
    );
    expect((await other.alone(rows))[0]).not.toEqual((await recurrent.alone(rows))[0]);
  });

  it('when a request names no sequence, or one that is not there, it is refused, and is no failure of the model', async () => {
    const serving = serve();
    await serving.activate(recurrent.installed, signal);
    await expect(ask(serving, [1, 2, 3], undefined)).rejects.toThrow(refusal('REQUEST_INVALID'));
    await expect(ask(serving, [1, 2, 3], next(7))).rejects.toThrow(refusal('SEQUENCE_UNKNOWN'));
    expect(serving.health(ModelName('recurrent'))).toMatchObject({ requests: 0, failures: 0 });
  });

  it('when a client sends a state itself, it is refused: there is no such input', async () => {
    const serving = serve();
    await serving.activate(recurrent.installed, signal);
    const inputs = {
      x: { datatype: 'FP32' as const, shape: [1, WIDTH], data: new Float32Array(WIDTH) },
      h_in: { datatype: 'FP32' as const, shape: [1, 4], data: new Float32Array(4) },
    };
    await expect(ask(serving, [], start(1), { inputs })).rejects.toThrow(/no input "h_in"/);
  });

  it('when a sequence has ended, or starts again, it knows nothing of before', async () => {
    const serving = serve();
    await serving.activate(recurrent.installed, signal);
    expect((await ask(serving, [1, 1, 1], start('a'))).steps).toBe(1);
    expect((await ask(serving, [1, 1, 1], next('a'))).steps).toBe(2);
    expect((await ask(serving, [1, 1, 1], start('a'))).steps).toBe(1);
    expect((await ask(serving, [1, 1, 1], end('a'))).steps).toBe(2);
    await expect(ask(serving, [1, 1, 1], next('a'))).rejects.toThrow(refusal('SEQUENCE_UNKNOWN'));
    expect((await ask(serving, [1, 1, 1], { id: 'a', isStart: true, isEnd: true })).steps).toBe(1);
    await expect(ask(serving, [1, 1, 1], end('a'))).rejects.toThrow(refusal('SEQUENCE_UNKNOWN'));
  });

  it('when a number and a text look the same, they are two sequences', async () => {
    const serving = serve();
    await serving.activate(recurrent.installed, signal);
    await ask(serving, [1, 1, 1], start(5));
    await expect(ask(serving, [1, 1, 1], next('5'))).rejects.toThrow(refusal('SEQUENCE_UNKNOWN'));
    expect((await ask(serving, [1, 1, 1], next(5))).steps).toBe(2);
  });

  it('when there are as many sequences as it allows, a further one is refused, and those that are there go on', async () => {
    const few = await installRecurrent({ directory: join(directory, 'few'), limits: { maxSequences: 2 } });
    opened.push(few);
    const serving = serve();
    await serving.activate(few.installed, signal);
    await Promise.all([ask(serving, [1, 1, 1], start(1)), ask(serving, [1, 1, 1], start(2))]);
    await expect(ask(serving, [1, 1, 1], start(3))).rejects.toThrow(refusal('SEQUENCE_LIMIT'));
    expect((await ask(serving, [1, 1, 1], end(1))).steps).toBe(2);
    expect((await ask(serving, [1, 1, 1], start(3))).steps).toBe(1);
    expect((await ask(serving, [1, 1, 1], next(2))).steps).toBe(2);
  });

  it('when nothing is asked of a sequence for the time that it states, it has ended, and makes room', async () => {
    const clock = manualClock();
    const limits = { maxSequences: 1, idleTimeoutMs: 10_000 };
    const brief = await installRecurrent({ directory: join(directory, 'brief'), limits });
    opened.push(brief);
    const serving = serve({ clock });
    await serving.activate(brief.installed, signal);
    await ask(serving, [1, 1, 1], start(1));
    clock.advance(9_999);
    expect((await ask(serving, [1, 1, 1], next(1))).steps).toBe(2);
    clock.advance(9_999);
    await expect(ask(serving, [1, 1, 1], start(2))).rejects.toThrow(refusal('SEQUENCE_LIMIT'));
    clock.advance(1);
    expect((await ask(serving, [1, 1, 1], start(2))).steps).toBe(1);
    await expect(ask(serving, [1, 1, 1], next(1))).rejects.toThrow(refusal('SEQUENCE_UNKNOWN'));
  });

  it('when another release takes over, its sequences are lost at once, and so they are when the first comes back', async () => {
    const clock = manualClock();
    const serving = serve({ clock });
    const second = await installRecurrent({ directory: join(directory, 'second'), seed: 9, version: '2.0.0' });
    opened.push(second);
    await serving.activate(recurrent.installed, signal);
    await ask(serving, [1, 1, 1], start(1));
    const underWay = ask(serving, [1, 1, 1], next(1));
    await serving.activate(second.installed, signal, 'keep');
    expect((await underWay).steps).toBe(2);
    await expect(ask(serving, [1, 1, 1], next(1))).rejects.toThrow(refusal('SEQUENCE_LOST'));
    expect(await ask(serving, [1, 1, 1], start(1))).toEqual((await second.alone([[1, 1, 1]]))[0]);
    await serving.activate(recurrent.installed, signal);
    await expect(ask(serving, [1, 1, 1], next(1))).rejects.toThrow(refusal('SEQUENCE_LOST'));
    clock.advance(60_000);
    // What was begun before that would have timed out by now.
    await expect(ask(serving, [1, 1, 1], next(1))).rejects.toThrow(refusal('SEQUENCE_UNKNOWN'));
  });

  it('when the process before this one has ended, the sequences that it had are lost', async () => {
    const serving = serve({ isRestart: true });
    await serving.activate(recurrent.installed, signal);
    await expect(ask(serving, [1, 1, 1], next(1))).rejects.toThrow(refusal('SEQUENCE_LOST'));
  });
});
