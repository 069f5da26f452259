import { ModelName } from '@drover/shared/ids';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/host/clock.js';
import { ServeError } from '../../../src/serve/errors.js';
import { InlineServing } from '../../../src/serve/inline/inline-serving.js';
import { LaneModels } from '../../../src/serve/lanes/lane-models.js';
import type { FromLane } from '../../../src/serve/lanes/messages.js';
import { MeetingBudget } from '../../../src/serve/trials/meeting-budget.js';
import type { SharedShadow } from '../../../src/serve/trials/shadow-trial.js';
import type { InstalledModel } from '../../../src/update/ports.js';
import { installClassifier } from '../installed-classifier.js';
import { memoryRecorder, type MemoryRecorder } from '../memory-recorder.js';

describe('the models of a lane', () => {
  const posted: FromLane[] = [];
  let recorder: MemoryRecorder;
  /** What the other thread does when it is asked something. */
  let answer: ((call: number) => void) | undefined;
  let directory: string;
  let installed: InstalledModel;
  let inline: InlineServing;
  let models: LaneModels;

  const infer = (more: object = {}) => {
    const data = Float32Array.from([1, 2, 3, 4]);
    const inputs = { features: { datatype: 'FP32', shape: [1, 4], data } } as const;
    return models.infer({ model: ModelName('classifier'), requestId: 'request', inputs, ...more });
  };

  beforeEach(async () => {
    posted.length = 0;
    answer = undefined;
    recorder = memoryRecorder();
    directory = mkdtempSync(join(tmpdir(), 'drover-lane-'));
    installed = await installClassifier({ directory });
    inline = new InlineServing({
      providers: ['cpu'],
      hardwareClass: 'generic',
      clock: systemClock,
      recorder,
      openShadow: ({ candidate }) => models.openShadow(candidate),
      onIncident: (error) => {
        throw error;
      },
    });
    models = new LaneModels({
      inline,
      post(message) {
        posted.push(message);
        if (message.kind === 'asked') queueMicrotask(() => answer?.(message.call));
      },
      flush: () => undefined,
    });
    models.tell([installed]);
  });
  afterEach(async () => {
    await inline.close();
    rmSync(directory, { recursive: true });
  });

  it('are run here between a grant and its withdrawal only', async () => {
    await models.grant({ installed, shadow: undefined }, undefined);
    expect(await infer()).toMatchObject({ version: '1.0.0' });
    expect(posted).toEqual([]);
    await models.withdraw(installed.model);
    void infer();
    expect(posted).toMatchObject([{ kind: 'asked', question: { kind: 'infer', request: { requestId: 'request' } } }]);
  });

  describe('when a release runs in their shadow', () => {
    const compared = { latencyUs: 5, agreement: { compared: 1, value: 1 } };
    let candidate: InstalledModel;
    beforeEach(async () => {
      candidate = await installClassifier({ directory: join(directory, '2'), seed: 2, version: '2.0.0' });
    });
    const shadow = (): SharedShadow => ({
      trial: {
        candidate,
        terms: { mode: 'shadow', share: 1, until: Date.UTC(2100, 0, 1) },
      },
      provider: { requested: ['cpu'], actual: 'cpu' },
      meetings: new MeetingBudget().shared,
    });

    it('are answered here, and compared by the thread that has the candidate', async () => {
      answer = (call) => models.answered(call, ({ resolve }) => resolve(compared as never));
      await models.grant({ installed, shadow: shadow() }, undefined);
      const { outputs } = await infer();
      await expect.poll(() => posted.length).toBe(1);
      expect(posted[0]).toMatchObject({ question: { kind: 'compare', model: 'classifier', answered: outputs } });
      await expect.poll(() => recorder.comparisons[0]).toMatchObject({ outcome: 'compared', candidateLatencyUs: 5 });
    });

    it('count a failure of the candidate, and none where that thread tries it no more', async () => {
      answer = (call) => {
        const code = call === 1 ? 'MODEL_NOT_SERVED' : 'MODEL_RUN_FAILED';
        models.answered(call, ({ reject }) => reject(new ServeError(code, 'No.', { remedy: 'None.' })));
      };
      await models.grant({ installed, shadow: shadow() }, undefined);
      while (!recorder.comparisons.some(({ outcome }) => outcome === 'failed')) await infer();
      const failed = recorder.comparisons.filter(({ outcome }) => outcome === 'failed').length;
      expect(posted.length).toBeGreaterThan(failed);
    });

    it('are compared by nobody once they are withdrawn', async () => {
      await models.grant({ installed, shadow: shadow() }, undefined);
      await models.withdraw(installed.model);
      await models.grant({ installed, shadow: undefined }, undefined);
      await infer();
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(posted).toEqual([]);
    });
  });

  it('when a grant and its withdrawal come together, are not run here', async () => {
    await Promise.all([models.grant({ installed, shadow: undefined }, undefined), models.withdraw(installed.model)]);
    void infer();
    expect(posted).toMatchObject([{ kind: 'asked' }]);
  });

  it('are asked for elsewhere, and what comes back is the answer', async () => {
    const [answered, refused] = [infer(), infer()];
    models.answered(1, ({ resolve }) => resolve({ version: '9.0.0' } as never));
    models.answered(2, ({ reject }) => reject(new ServeError('SERVE_OVERLOADED', 'Too much.', { remedy: 'Wait.' })));
    expect(await answered).toMatchObject({ version: '9.0.0' });
    await expect(refused).rejects.toMatchObject({ code: 'SERVE_OVERLOADED' });
  });

  it('when the client goes, the other thread is told', () => {
    const client = new AbortController();
    void infer({ signal: client.signal });
    client.abort();
    expect(posted).toMatchObject([
      { kind: 'asked', call: 1 },
      { kind: 'gone', call: 1 },
    ]);
  });

  it('with a deadline, say what is left of it, since the clocks of threads differ', () => {
    void infer({ deadlineMs: performance.now() + 5_000 });
    const [asked] = posted;
    if (asked?.kind !== 'asked' || asked.question.kind !== 'infer') throw new Error('nothing was asked');
    expect(asked.question.request.leftMs).toBeGreaterThan(4_000);
    expect(asked.question.request.leftMs).toBeLessThanOrEqual(5_000);
  });

  it('which are not served, or in another version, are refused at once', () => {
    expect(models.find('classifier', '1.0.0')).toBe(installed);
    expect(() => models.find('classifier', '2.0.0')).toThrow('"classifier 2.0.0" is not served here');
    expect(() => models.find('other')).toThrow('"other" is not served here');
  });
});
