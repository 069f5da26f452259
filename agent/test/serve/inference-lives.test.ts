import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { InferenceLives } from '../../src/serve/process/inference-lives.js';
import { died, type InferenceProcess } from '../../src/serve/process/inference-process.js';
import type { Started } from '../../src/serve/process/messages.js';
import { systemClock } from '../../src/host/clock.js';

const STARTED: Started = { port: 8_080, running: [], failed: [] };

/** Node.js 20 has no Promise.withResolvers. */
function withResolvers<Value>() {
  let resolve: (value: Value) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<Value>((fulfil, refuse) => ([resolve, reject] = [fulfil, refuse]));
  return { promise, resolve, reject };
}

/** A process that starts when it is told to, and ends when it is asked to, or told to. */
function heldProcess() {
  const [started, loaded] = [withResolvers<Started>(), withResolvers<true>()];
  const exited = withResolvers<string>();
  const end = (ending: string): Promise<void> => {
    started.reject(died(ending));
    exited.resolve(ending);
    return Promise.resolve();
  };
  started.promise.catch(() => undefined);
  const stop = vi.fn(() => end('was stopped'));
  const retire = vi.fn(() => end('was relieved'));
  const process = {
    pid: 1,
    started: started.promise,
    loaded: Promise.race([loaded.promise, started.promise]),
    takeOver: vi.fn(),
    exited: exited.promise,
    stop,
    retire,
  } satisfies Partial<InferenceProcess> as unknown as InferenceProcess;
  process.loaded.catch(() => undefined);
  return { process, stop, retire, start: () => started.resolve(STARTED), load: () => loaded.resolve(true), end };
}

describe('the lives of the inference process', () => {
  const held: ReturnType<typeof heldProcess>[] = [];
  const told: string[] = [];
  let lives: InferenceLives;

  beforeEach(async () => {
    held.length = 0;
    told.length = 0;
    lives = new InferenceLives({
      clock: { ...systemClock, sleep: () => Promise.resolve() },
      launch: () => {
        const next = heldProcess();
        held.push(next);
        return next.process;
      },
      onUp: () => void told.push('up'),
      onDown: () => void told.push('down'),
      onDeath: (ending) => void told.push(ending),
      isJudged: () => false,
      onIncident: () => undefined,
    });
    const begun = lives.begin();
    held[0]?.start();
    await begun;
  });
  afterEach(async () => {
    vi.useRealTimers();
    await lives.close();
  });

  it('when another hangs before it relieves the first, it is ended, and the first goes on', async () => {
    vi.useFakeTimers();
    const relief = expect(lives.replace('beside')).rejects.toMatchObject({ code: 'INFERENCE_PROCESS_DIED' });
    const asked = lives.ask(new AbortController().signal, (child) => Promise.resolve(child === held[0]?.process));
    await vi.advanceTimersByTimeAsync(5 * 60_000);
    await relief;
    expect(held[1]?.stop).toHaveBeenCalled();
    expect(lives.current).toBe(held[0]?.process);
    expect(await asked).toBe(true);
    expect(told).toEqual(['up']);
  });

  it('when another hangs after the first has given way, it is ended, and the next begins', async () => {
    vi.useFakeTimers();
    const relief = lives.replace('beside');
    held[1]?.load();
    await vi.advanceTimersByTimeAsync(0);
    expect(held[0]?.retire).toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(10_000);
    await relief;
    expect(held[1]?.stop).toHaveBeenCalled();
    expect(held).toHaveLength(3);
    expect(lives.current).toBe(held[2]?.process);
    held[2]?.start();
    await vi.advanceTimersByTimeAsync(0);
    expect(lives.isUp).toBe(true);
  });

  it('when another relieves it, the first ends with its last connection, which is no death', async () => {
    const relief = lives.replace('beside');
    held[1]?.start();
    await relief;
    expect(lives.current).toBe(held[1]?.process);
    expect(held[0]?.retire).toHaveBeenCalled();
    await held[0]?.process.exited;
    expect(told).toEqual(['up', 'up']);
  });

  it('when it dies, the next begins, and whoever asked meanwhile is answered by that', async () => {
    await held[0]?.end('was killed');
    await vi.waitFor(() => expect(held).toHaveLength(2));
    const asked = lives.ask(new AbortController().signal, (child) => Promise.resolve(child));
    held[1]?.start();
    expect(await asked).toBe(held[1]?.process);
    expect(told).toEqual(['up', 'down', 'was killed', 'up']);
  });

  it('when it is closed, whoever waits is told so', async () => {
    await held[0]?.end('was killed');
    const asked = expect(lives.ask(new AbortController().signal, () => Promise.resolve())).rejects.toMatchObject({
      code: 'SERVE_CLOSED',
    });
    await lives.close();
    await asked;
  });
});
