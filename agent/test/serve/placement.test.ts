import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeOnnx, graph, model, node, valueInfo } from '@drover/shared/onnx';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { placeModel } from '../../src/serve/process/place-model.js';
import { decidePlacement } from '../../src/serve/scheduling/placement.js';
import { areRowsIndependent, readGoldenVectors } from '../../src/serve/session/golden.js';
import type { ModelSession } from '../../src/serve/session/model-session.js';
import { openSession } from '../../src/serve/session/session.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { install, installClassifier } from './installed-classifier.js';

const MIB = 1024 ** 2;
const measured = { runMs: 5, isBatchable: false, fileBytes: 10 * MIB, provider: 'cpu' };
const machine = { cores: 8, freeBytes: 4_096 * MIB, maxBatchDelayMs: 5 };

describe('where a model runs', () => {
  it.each([
    [
      'a run that is done sooner than it is handed over stays on the thread of the protocol',
      { runMs: 0.1 },
      {},
      'inline',
      1,
    ],
    ['a longer one gets threads, some at most', {}, {}, 'workers', 4],
    ['no more than there are cores', {}, { cores: 2 }, 'workers', 2],
    ['no more than there is memory for', { fileBytes: 500 * MIB }, {}, 'workers', 1],
    ['one on a GPU, which runs one thing after the other', { provider: 'cuda' }, {}, 'workers', 1],
  ])('%s', (_, change, on, where, maxSessions) => {
    expect(decidePlacement({ ...measured, ...change }, { ...machine, ...on })).toMatchObject({ where, maxSessions });
  });

  it('rows are put together only where that was shown to change nothing', () => {
    expect(decidePlacement(measured, machine).batching).toBeUndefined();
    expect(decidePlacement({ ...measured, isBatchable: true }, machine).batching).toEqual({
      maxRows: 32,
      maxDelayMs: 5,
    });
  });
});

describe('with real models', () => {
  let directory: string;
  let first: InstalledModel;
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'drover-placement-'));
    first = await installClassifier({ directory: join(directory, 'classifier') });
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  /** Subtracts the mean over the batch: of one row, zero. */
  async function installCentring(rows: readonly (readonly number[])[]): Promise<InstalledModel> {
    const bytes = encodeOnnx(
      model({
        opset: 13,
        graph: graph({
          name: 'centring',
          inputs: [valueInfo('x', 'FP32', ['n', 2])],
          outputs: [valueInfo('y', 'FP32', ['n', 2])],
          nodes: [
            node('ReduceMean', ['x'], ['mean'], { axes: { ints: [0] }, keepdims: { int: 1 } }),
            node('Sub', ['x', 'mean'], ['y']),
          ],
        }),
      }),
    );
    const session = await InferenceSession.create(bytes);
    const tensor = (name: string, data: Float32Array) =>
      ({ name, datatype: 'FP32', shape: [1, 2], bytes: new Uint8Array(data.slice().buffer) }) as const;
    const vectors = [];
    for (const row of rows) {
      const values = Float32Array.from(row);
      const { y } = await session.run({ x: new Tensor('float32', values, [1, 2]) });
      vectors.push({ inputs: [tensor('x', values)], outputs: [tensor('y', y?.data as Float32Array)] });
    }
    await session.release();
    const signature = (name: string) => [{ name, datatype: 'FP32' as const, shape: [-1, 2] }];
    const manifest = { task: { type: 'tensors' as const } };
    return install(bytes, vectors, { directory: join(directory, 'centring'), manifest }, { inputs: signature('x'), outputs: signature('y') }); // prettier-ignore
  }
  const independent = async (installed: InstalledModel): Promise<boolean> => {
    const { session } = await openSession(installed, { providers: ['cpu'] });
    const { manifest } = installed;
    const answer = await areRowsIndependent(session, { manifest, provider: 'cpu' }, await readGoldenVectors(installed));
    await session.close();
    return answer;
  };

  it('when a model normalises over its batch, its rows are not independent, and what shows nothing does not count', async () => {
    expect(await independent(await installCentring([[1, 2], [3, 5]]))).toBe(false); // prettier-ignore
    // Alike, they would pass; alone, there is nothing to compare with.
    expect(await independent(await installCentring([[1, 2], [1, 2]]))).toBe(false); // prettier-ignore
    expect(await independent(await installCentring([[1, 2]]))).toBe(false);
  });

  it('when it treats each row by itself, they are', async () => {
    const two = await installCentring([[1, 2], [3, 5]]); // prettier-ignore
    const bytes = encodeOnnx(
      model({
        opset: 13,
        graph: graph({
          name: 'negative',
          inputs: [valueInfo('x', 'FP32', ['n', 2])],
          outputs: [valueInfo('y', 'FP32', ['n', 2])],
          nodes: [node('Neg', ['x'], ['y'])],
        }),
      }),
    );
    const vectors = (await readGoldenVectors(two)).map(({ inputs }) => ({
      inputs,
      outputs: inputs.map((each) => ({ ...each, name: 'y', bytes: negated(each.bytes) })),
    }));
    const manifest = { task: { type: 'tensors' as const } };
    const negative = install(
      bytes,
      vectors,
      { directory: join(directory, 'negative'), manifest },
      two.variant.signature,
    );
    expect(await independent(negative)).toBe(true);
  });

  it('when it is placed, the one that was measured is closed where it moves, and further ones are opened on demand', async () => {
    const events: string[] = [];
    const opened = async (where: string, runMs: number) => {
      events.push(`open ${where}`);
      const { session, provider } = await openSession(first, { providers: ['cpu'] });
      const slowed: ModelSession = {
        async run(inputs) {
          await new Promise((resolve) => setTimeout(resolve, runMs));
          return session.run(inputs);
        },
        async close() {
          events.push(`close ${where}`);
          await session.close();
        },
      };
      return { session: runMs === 0 ? { ...session, close: () => slowed.close() } : slowed, provider };
    };
    const place = (runMs: number) =>
      placeModel(first, {
        maxBatchDelayMs: 0,
        openHere: () => opened('here', runMs),
        openWorker: () => opened('worker', runMs),
        onIncident: (error) => {
          throw error;
        },
      });
    const quick = await place(0);
    expect([events.splice(0), quick.growth]).toEqual([['open worker', 'open here', 'close worker'], undefined]);
    await quick.session.close();
    events.length = 0;
    const slow = await place(2);
    expect(events).toEqual(['open worker']);
    const another = await slow.growth?.open();
    expect(events).toEqual(['open worker', 'open worker']);
    await another?.close();
    await slow.session.close();
  });

  it('when a further session cannot be opened, that is an incident and no more', async () => {
    const incidents: unknown[] = [];
    let opens = 0;
    const placed = await placeModel(first, {
      maxBatchDelayMs: 0,
      openHere: () => Promise.reject(new Error('not asked')),
      openWorker: async () => {
        if (opens++ > 0) throw new Error('no memory');
        const { session, provider } = await openSession(first, { providers: ['cpu'] });
        const run: ModelSession['run'] = async (inputs) => {
          await new Promise((resolve) => setTimeout(resolve, 2));
          return session.run(inputs);
        };
        return { session: { run, close: () => session.close() }, provider };
      },
      onIncident: (error) => void incidents.push(error),
    });
    expect(await placed.growth?.open()).toBeUndefined();
    expect(incidents).toMatchObject([{ message: 'no memory' }]);
    await placed.session.close();
  });
});

const negated = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(new Float32Array(new Uint8Array(bytes).buffer).map((value) => -value).buffer);
