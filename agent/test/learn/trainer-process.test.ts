import { getPriority } from 'node:os';
import { describe, expect, it } from 'vitest';
import {
  buildDenseClassifier,
  fineTune,
  judgeAdaptation,
  startTrainerProcess,
  train,
  type FineTuneRequest,
  type TrainingRecipe,
} from '../../src/learn/index.js';
import { clouds } from './synthetic.js';

const coded = (code: string) => expect.objectContaining({ code }) as Error;
const recipe: TrainingRecipe = {
  optimizer: 'adam',
  learningRate: 0.01,
  batchSize: 32,
  duration: { epochs: 30 },
  seed: 3,
};
const never = () => new AbortController().signal;

/** Trained where classes lie, then drifted: the clouds moved. */
async function request(changes: Partial<FineTuneRequest> = {}): Promise<FineTuneRequest> {
  const model = buildDenseClassifier({ features: 8, hidden: [16], classes: 3, seed: 1 });
  const old = { model, examples: clouds({ count: 400 }), recipe, signal: never() };
  const drifted = { shift: 2, distance: 3 };
  return {
    kind: 'fine-tune',
    model: (await train(old)).model,
    train: clouds({ count: 200, seed: 21, ...drifted }),
    replay: clouds({ count: 200, seed: 22 }),
    holdout: clouds({ count: 200, seed: 23, ...drifted }),
    anchor: clouds({ count: 400, seed: 24 }),
    recipe,
    replayShare: 0.5,
    ...changes,
  };
}
/** Long enough that a test can act while it runs. */
const endless: TrainingRecipe = { ...recipe, duration: { steps: 5_000_000 } };

describe('startTrainerProcess', () => {
  it('when a drifted model is fine-tuned, the process gives what the same job gives here, and the gate accepts it', async () => {
    const job = await request();
    const steps: number[] = [];
    const { result } = startTrainerProcess({
      request: job,
      signal: never(),
      onProgress: ({ step }) => steps.push(step),
    });
    const found = await result;
    const here = await fineTune({ request: job, signal: never() });
    expect(Buffer.from(found.model).equals(here.model)).toBe(true);
    expect(found.after.holdout).toEqual(here.after.holdout);
    expect(found.after.holdout.accuracy).toBeGreaterThan(found.before.holdout.accuracy);
    expect(steps.at(-1)).toBe(found.steps);
    const judgement = judgeAdaptation(
      {
        holdout: { before: found.before.holdout.correctness, after: found.after.holdout.correctness },
        anchor: { before: found.before.anchor.correctness, after: found.after.anchor.correctness },
        goldenOk: true,
      },
      { minImprovement: 0.02, maxForgetting: 0.05, alpha: 0.05 },
    );
    expect(judgement.checks).toMatchObject([{ verdict: 'PASS' }, { verdict: 'PASS' }, { verdict: 'PASS' }]);
  });

  it('when it runs, it is niced; when it is aborted, the process is gone', async () => {
    const stop = new AbortController();
    let niceness = -1;
    const trainer = startTrainerProcess({
      request: await request({ recipe: endless }),
      signal: stop.signal,
      niceness: 7,
      onProgress: () => {
        if (stop.signal.aborted) return;
        niceness = getPriority(trainer.pid ?? -1);
        stop.abort();
      },
    });
    await expect(trainer.result).rejects.toThrow(coded('LEARN_ABORTED'));
    expect(niceness).toBe(7);
    expect(() => process.kill(trainer.pid ?? -1, 0)).toThrow('ESRCH');
  });

  it('when it is aborted before it starts, no process is started', async () => {
    const trainer = startTrainerProcess({ request: await request(), signal: AbortSignal.abort() });
    expect(trainer.pid).toBeUndefined();
    await expect(trainer.result).rejects.toThrow(coded('LEARN_ABORTED'));
  });

  it('when the process is killed from outside, it says that it died', async () => {
    let killed = false;
    const trainer = startTrainerProcess({
      request: await request({ recipe: endless }),
      signal: never(),
      onProgress: () => {
        if (!killed) process.kill(trainer.pid ?? -1, 'SIGKILL');
        killed = true;
      },
    });
    await expect(trainer.result).rejects.toThrow(coded('LEARN_TRAINER_DIED'));
  });

  it('when it outgrows its memory, it stops itself and says so', async () => {
    const { result } = startTrainerProcess({
      request: await request({ recipe: endless }),
      signal: never(),
      maxMemoryMiB: 32,
    });
    await expect(result).rejects.toThrow(coded('LEARN_MEMORY_EXCEEDED'));
  });

  it('when the job is refused, the code crosses the process border', async () => {
    const { result } = startTrainerProcess({
      request: await request({ holdout: clouds({ count: 5, width: 3 }) }),
      signal: never(),
    });
    await expect(result).rejects.toThrow(coded('LEARN_EXAMPLES_INVALID'));
  });
});
