import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Value } from 'typebox/value';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { answerLabel, listLabels } from '../../src/cli/labels.js';
import { createInferenceClient, type InferenceClient } from '../../src/client/index.js';
import { AgentConfig } from '../../src/config/index.js';
import { systemClock } from '../../src/host/clock.js';
import { createStoreRecorder, inlineTelemetry, openTelemetry } from '../../src/monitor/index.js';
import { InlineServing, listenInference, type InferenceServer } from '../../src/serve/inline/index.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { installClassifier } from './installed-classifier.js';

const MODEL = 'classifier';
const fail = (error: unknown): never => {
  throw error;
};
const directory = mkdtempSync(join(tmpdir(), 'drover-labels-'));
const store = inlineTelemetry(openTelemetry({ file: ':memory:', maxSamples: 100, nowMs: Date.now, onRebuilt: fail }));
const recorder = createStoreRecorder({ store, onIncident: fail });
const serving = new InlineServing({
  providers: ['cpu'],
  hardwareClass: 'generic',
  clock: systemClock,
  recorder,
  labelDesk: store,
  onIncident: fail,
});
let installed: InstalledModel;
let server: InferenceServer;
let client: InferenceClient;

let nowMs = Date.now();
const look = async (): Promise<number> => {
  await recorder.settled();
  // More than a day between two looks: the budget has recovered.
  nowMs += 2 * 86_400_000;
  const settings = { perDay: 4, maxOpen: 10, driftFactor: 1, randomShare: 1, expireAfterMs: 365 * 86_400_000 };
  return store.requestLabels({ ...settings, isDrifting: false, nowMs });
};
const serve = async (): Promise<void> => {
  await client.infer(MODEL, { features: { datatype: 'FP32', shape: [1, 4], data: Float32Array.of(1, NaN, 3, 4) } });
};
/** Asks the model something, and has the agent ask for the truth of it. */
const ask = async () => {
  await serve();
  expect(await look()).toBe(1);
  const request = (await client.labelRequests(MODEL)).at(-1);
  if (!request) throw new Error('nothing is asked for');
  return request;
};
const refused = (agentCode: string) => ({ code: 'INFERENCE_DENIED', agentCode });

beforeAll(async () => {
  installed = await installClassifier({ directory: join(directory, MODEL) });
  await serving.activate(installed, new AbortController().signal);
  server = await listenInference({ host: '127.0.0.1', port: 0, models: serving, serverVersion: '0' });
  client = createInferenceClient({ url: `http://127.0.0.1:${server.port}` });
  await look();
});
afterAll(async () => {
  client.close();
  await server.close();
  await serving.close();
  rmSync(directory, { recursive: true });
});

describe('requests for labels', () => {
  beforeEach(async () => {
    for (const { id } of await client.labelRequests(MODEL)) await client.answerLabel(MODEL, id, null);
  });

  it('when one is read, it has what somebody needs to answer it', async () => {
    const request = await ask();
    expect(request).toMatchObject({ version: '1.0.0', row: 0, reason: 'random', features: [1, null, 3, 4] });
    const names = installed.manifest.task.labels ?? [];
    expect(request.prediction.label).toBe(names[request.prediction.index]);
    // The model was given what is no number.
    expect(request.confidence).toBeNull();
  });

  it('when it is answered by name or index, the label joins the sample; again changes nothing, another is refused', async () => {
    const { id } = await ask();
    const { labels = [] } = installed.manifest.task;
    expect(await client.answerLabel(MODEL, id, labels[2] ?? '')).toBe('joined');
    expect(await client.answerLabel(MODEL, id, 2)).toBe('repeated');
    await expect(client.answerLabel(MODEL, id, 1)).rejects.toMatchObject(refused('FEEDBACK_CONFLICTS'));
    expect(await client.labelRequests(MODEL)).toEqual([]);
  });

  it.each([
    ['of an unknown id', 'LABEL_REQUEST_UNKNOWN', 'other', 1],
    ['that is no class', 'REQUEST_INVALID', 'other', 'none of its classes'],
    ['beyond the classes', 'REQUEST_INVALID', 'other', 99],
  ])('when an answer is %s, it is refused: %s', async (_, code, id, label) => {
    await expect(client.answerLabel(MODEL, id, label)).rejects.toMatchObject(refused(code));
  });

  it('when the model is not served, nobody is asked', async () => {
    await expect(client.labelRequests('other')).rejects.toMatchObject(refused('MODEL_NOT_SERVED'));
    await expect(client.answerLabel('other', 'x', 0)).rejects.toMatchObject(refused('MODEL_NOT_SERVED'));
  });
});

describe('drover-agent labels', () => {
  const run = async (act: (config: AgentConfig, terminal: Parameters<typeof listLabels>[3]) => Promise<void>) => {
    const said: string[] = [];
    const stdout = (text: string): void => void said.push(text);
    const untilStopped = () => Promise.resolve();
    const config = Value.Default(AgentConfig, { serve: { port: server.port } }) as AgentConfig;
    await act(config, { argv: [], environment: {}, stdout, stderr: stdout, untilStopped });
    return said.join('');
  };

  it('when labels are listed and answered, it shows what is asked for and what became of the answer', async () => {
    const { id } = await ask();
    const listed = await run((config, terminal) => listLabels(config, MODEL, false, terminal));
    expect(listed).toContain(`${id}  row 0 of `);
    expect(listed).toContain('1, NaN, 3, 4');
    const asJson = await run((config, terminal) => listLabels(config, MODEL, true, terminal));
    expect(JSON.parse(asJson)).toMatchObject([{ id }]);
    const answer = (label: string | undefined) =>
      run((config, terminal) => answerLabel(config, { model: MODEL, id, label }, terminal));
    expect(await answer(undefined)).toContain('nobody can tell');
    expect(await answer('1')).toContain('joined');
    expect(await answer(installed.manifest.task.labels?.[1])).toContain('already');
    expect(await run((config, terminal) => listLabels(config, MODEL, false, terminal))).toContain('No label');
  });
});
