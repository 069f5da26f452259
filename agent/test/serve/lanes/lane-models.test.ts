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
import type { InstalledModel } from '../../../src/update/ports.js';
import { installClassifier } from '../installed-classifier.js';
import { memoryRecorder } from '../memory-recorder.js';

describe('the models of a lane', () => {
  const posted: FromLane[] = [];
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
    directory = mkdtempSync(join(tmpdir(), 'drover-lane-'));
    installed = await installClassifier({ directory });
    inline = new InlineServing({
      providers: ['cpu'],
      hardwareClass: 'generic',
      clock: systemClock,
      recorder: memoryRecorder(),
      onIncident: (error) => {
        throw error;
      },
    });
    models = new LaneModels({ inline, post: (message) => void posted.push(message), flush: () => undefined });
    models.tell([installed]);
  });
  afterEach(async () => {
    await inline.close();
    rmSync(directory, { recursive: true });
  });

  it('are run here between a grant and its withdrawal only', async () => {
    await models.grant(installed, undefined);
    expect(await infer()).toMatchObject({ version: '1.0.0' });
    expect(posted).toEqual([]);
    await models.withdraw(installed.model);
    void infer();
    expect(posted).toMatchObject([{ kind: 'asked', question: { kind: 'infer', request: { requestId: 'request' } } }]);
  });

  it('when a grant and its withdrawal come together, are not run here', async () => {
    await Promise.all([models.grant(installed, undefined), models.withdraw(installed.model)]);
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
