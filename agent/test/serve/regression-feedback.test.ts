import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeOnnx, floatTensor, graph, model, node, valueInfo } from '@drover/shared/onnx';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/host/clock.js';
import { createStoreRecorder, openTelemetryThread, type TelemetryStore } from '../../src/monitor/index.js';
import { ProcessServing } from '../../src/serve/index.js';
import { install } from './installed-classifier.js';

const signal = new AbortController().signal;

/** y = x0 + 2 · x1 */
const sumModel = encodeOnnx(
  model({
    opset: 17,
    graph: graph({
      name: 'sum',
      inputs: [valueInfo('x', 'FP32', [-1, 2])],
      outputs: [valueInfo('y', 'FP32', [-1, 1])],
      initializers: [floatTensor('w', [2, 1], Float32Array.of(1, 2))],
      nodes: [node('MatMul', ['x', 'w'], ['y'])],
    }),
  }),
);

describe('when the true values of a regression come for what it has answered', () => {
  let directory: string;
  let store: TelemetryStore;
  let serving: ProcessServing;
  const incidents: unknown[] = [];

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'drover-regression-'));
    const onIncident = (error: unknown): void => void incidents.push(error);
    store = await openTelemetryThread({ file: join(directory, 'telemetry.db'), maxSamples: 100, onIncident });
    serving = await ProcessServing.open({
      host: '127.0.0.1',
      port: 0,
      providers: ['cpu'],
      hardwareClass: 'generic',
      serverVersion: '0.1.0',
      clock: systemClock,
      recorder: createStoreRecorder({ store, onIncident }),
      onIncident,
    });
    const regression = { outputs: ['y'], unit: 'bar', scale: 10 };
    const manifest = { task: { type: 'regression' as const, regression } };
    const signature = {
      inputs: [{ name: 'x', datatype: 'FP32' as const, shape: [-1, 2] }],
      outputs: [{ name: 'y', datatype: 'FP32' as const, shape: [-1, 1] }],
    };
    const tensor = (name: string, shape: number[], values: readonly number[]) =>
      ({ name, datatype: 'FP32', shape, bytes: new Uint8Array(Float32Array.from(values).buffer) }) as const;
    const golden = { inputs: [tensor('x', [1, 2], [1, 2])], outputs: [tensor('y', [1, 1], [5])] };
    await serving.activate(
      install(sumModel, [golden], { directory: join(directory, '1'), manifest }, signature),
      signal,
    );
  });
  afterEach(async () => {
    await serving.close();
    await store.close();
    rmSync(directory, { recursive: true });
  });

  it('joins them, and reports by how much the values were too large, in the unit of the task', async () => {
    const post = async (what: string, body: object) => {
      const url = `http://127.0.0.1:${serving.address.port}/v2/models/classifier/${what}`;
      const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
      return { status: answer.status, ...((await answer.json()) as object) };
    };
    const x = { name: 'x', datatype: 'FP32', shape: [3, 2], data: [1, 0, 0, 1, 1, 1] };
    expect(await post('infer', { id: 'r', inputs: [x] })).toMatchObject({
      status: 200,
      outputs: [{ data: [1, 2, 3] }],
    });
    // It said 10, 20 and 30 bar.
    const sent = { id: 'r', labels: [12, 19, null] };
    expect(await post('feedback', sent)).toMatchObject({ status: 200, joined: 2 });
    expect(await post('feedback', { ...sent, labels: [12, 19, 30.5] })).toMatchObject({ joined: 1, repeated: 2 });
    expect(await post('feedback', { ...sent, labels: ['nineteen'] })).toMatchObject({
      status: 400,
      code: 'REQUEST_INVALID',
    });
    const [counts] = await store.takeCounts(1);
    expect(counts).toMatchObject({
      labelled: { count: 0, correct: 0 },
      errors: { count: 3, mean: -0.5, meanAbsolute: 3.5 / 3, meanSquare: (4 + 1 + 0.25) / 3 },
    });
    expect(incidents).toEqual([]);
  });
});
