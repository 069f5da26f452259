import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MonitorError } from '../../src/monitor/index.js';
import { watchServing } from '../../src/supervisor/watched-serving.js';
import type { InstalledModel } from '../../src/update/index.js';
import { install } from '../serve/installed-classifier.js';
import { memoryServing } from '../update/fixtures/memory-serving.js';

const never = new AbortController().signal;

describe('watchServing', () => {
  let directory: string;
  let model: InstalledModel;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'drover-watched-'));
    model = install(new Uint8Array(4), [], { directory }, { inputs: [], outputs: [] });
    writeFileSync(model.modelFile, new Uint8Array(4));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  /** A watch whose turns fail as told. */
  function watching(failures: Error[]) {
    const watched: string[] = [];
    const problems: unknown[] = [];
    const serving = watchServing(
      memoryServing(),
      {
        activated: ({ release }) => {
          const failure = failures.shift();
          if (failure) return Promise.reject(failure);
          watched.push(release.version);
          return Promise.resolve();
        },
        deactivated: (name) => Promise.resolve(void watched.push(`no ${name}`)),
      },
      (error) => problems.push(error),
    );
    return { serving, watched, problems };
  }

  it('when the watch cannot begin, the model serves all the same, the reason is told, and the watch is tried again', async () => {
    const { serving, watched, problems } = watching([new Error('telemetry.db is broken'), new Error('still')]);
    await expect(serving.activate(model, never)).resolves.toMatchObject({ loaded: model.loaded });
    expect(serving.running(model.model)).toBeDefined();
    expect(problems).toMatchObject([{ message: 'telemetry.db is broken' }]);
    await expect(serving.watchRest()).rejects.toThrow('still');
    await serving.watchRest();
    await serving.watchRest();
    expect(watched).toEqual(['1.0.0']);
  });

  it('when the release itself cannot be watched, that is told once', async () => {
    const unusable = new MonitorError('DRIFT_REFERENCE_UNUSABLE', 'The profile is damaged.', { remedy: 'Publish.' });
    const { serving, watched, problems } = watching([unusable]);
    await serving.activate(model, never);
    await serving.watchRest();
    expect([watched, problems]).toEqual([[], [unusable]]);
  });

  it('when a model stops serving before its watch began, the watch is not tried again', async () => {
    const { serving, watched } = watching([new Error('x')]);
    await serving.activate(model, never);
    await serving.deactivate(model.model);
    await serving.watchRest();
    expect(watched).toEqual(['no classifier']);
  });
});
