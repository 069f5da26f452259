import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestHex, digestOf, Version } from '@drover/shared/ids';
import { systemClock } from '../../src/host/clock.js';
import { ProcessServing } from '../../src/serve/index.js';
import type { InstalledModel, ServedParameters } from '../../src/update/ports.js';
import { installClassifier } from './installed-classifier.js';
import { memoryRecorder } from './memory-recorder.js';

const { signal } = new AbortController();
const REQUEST = JSON.stringify({ inputs: [{ name: 'features', datatype: 'FP32', shape: [1, 4], data: [1, 2, 3, 4] }] });

let directory: string;
let model: InstalledModel;
let serving: ProcessServing;
const incidents: unknown[] = [];
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'drover-parameters-'));
  incidents.length = 0;
  model = await installClassifier({ directory: join(directory, '1') });
  serving = await ProcessServing.open({
    host: '127.0.0.1',
    port: 0,
    providers: ['cpu'],
    hardwareClass: 'generic',
    serverVersion: '0.1.0',
    clock: systemClock,
    recorder: memoryRecorder(),
    onIncident: (error) => void incidents.push(error),
  });
  await serving.activate(model, signal);
});
afterEach(async () => {
  await serving.close();
  rmSync(directory, { recursive: true });
});

function parameters(version: string, threshold: number, compatible = '^1.0.0'): ServedParameters {
  const document = JSON.stringify({ version, values: { threshold } });
  const release = { version: Version(version), digest: digestOf(Buffer.from(`parameters ${version}`)) };
  return { model: model.model, release, compatible, loaded: digestOf(Buffer.from(document)), document };
}
const ask = (path: string, init: RequestInit = {}) =>
  fetch(`http://127.0.0.1:${serving.address.port}/v2/models/classifier${path}`, init);
const reject = (digest: string, reason = 'too bright') =>
  ask('/parameters/rejection', { method: 'POST', body: JSON.stringify({ digest, reason }) });
const inferred = async (): Promise<unknown> => (await ask('/infer', { method: 'POST', body: REQUEST })).json();
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe('the parameters of a model, over HTTP', () => {
  it('when there are none, are not found, and inference says nothing of them', async () => {
    const answer = await ask('/parameters');
    expect([answer.status, await answer.json()]).toEqual([
      404,
      expect.objectContaining({ code: 'PARAMETERS_NOT_IN_FORCE' }),
    ]);
    expect(await inferred()).not.toHaveProperty('parameters');
  });

  it('when there are some, are given with a tag, and again only when they have changed', async () => {
    const first = parameters('1.0.0', 0.5);
    await serving.setParameters(model.model, first, signal);
    const answer = await ask('/parameters');
    const etag = `"${digestHex(first.loaded)}"`;
    expect([answer.status, answer.headers.get('etag'), await answer.json()]).toEqual([
      200,
      etag,
      { version: '1.0.0', values: { threshold: 0.5 } },
    ]);
    expect(await inferred()).toMatchObject({ parameters: { drover_parameters: '1.0.0' }, model_version: '1.0.0' });
    const known = await ask('/parameters', { headers: { 'if-none-match': etag } });
    expect([known.status, await known.text()]).toEqual([304, '']);
    await serving.setParameters(model.model, parameters('1.1.0', 0.6), signal);
    expect((await ask('/parameters', { headers: { 'if-none-match': etag } })).status).toBe(200);
    expect(await inferred()).toMatchObject({ parameters: { drover_parameters: '1.1.0' } });
  });

  it('when they are for other releases than the one that serves, are not in force', async () => {
    await serving.setParameters(model.model, parameters('1.0.0', 0.5, '^2.0.0'), signal);
    expect((await ask('/parameters')).status).toBe(404);
    expect(serving.parametersInForce(model.model)).toBeUndefined();
    const next = await installClassifier({ directory: join(directory, '2'), version: '2.0.0' });
    await serving.activate(next, signal);
    expect((await ask('/parameters')).status).toBe(200);
    expect(serving.parametersInForce(model.model)?.release.version).toBe('1.0.0');
    expect(await inferred()).toMatchObject({ parameters: { drover_parameters: '1.0.0' }, model_version: '2.0.0' });
  });

  it('when the inference process is killed, are not in force until it is back, and then are', async () => {
    await serving.setParameters(model.model, parameters('1.0.0', 0.5), signal);
    process.kill(serving.pid ?? 0, 'SIGKILL');
    await until(() => serving.parametersInForce(model.model) === undefined);
    await until(() => serving.parametersInForce(model.model) !== undefined);
    expect((await ask('/parameters')).status).toBe(200);
  });

  it('when an application refuses them, say so once, until others take their place', async () => {
    const first = parameters('1.0.0', 0.5);
    await serving.setParameters(model.model, first, signal);
    expect((await reject(digestOf(Buffer.from('others')))).status).toBe(400);
    expect((await reject(first.release.digest)).status).toBe(202);
    await until(() => serving.parametersRejected(model.model) !== undefined);
    expect((await reject(first.release.digest, 'still too bright')).status).toBe(202);
    expect(serving.parametersRejected(model.model)).toEqual({ digest: first.release.digest, reason: 'too bright' });
    await serving.setParameters(model.model, parameters('1.1.0', 0.6), signal);
    expect(serving.parametersRejected(model.model)).toBeUndefined();
    expect(incidents).toEqual([expect.objectContaining({ code: 'PARAMETERS_REJECTED' })]);
  });

  it.each([
    ['/parameters', { method: 'POST' }, 405],
    ['/parameters/rejection', { method: 'GET' }, 405],
    ['/parameters/rejection', { method: 'POST', body: '{"digest":"x","reason":"y"}' }, 400],
    ['/versions/1.0.0/parameters', {}, 404],
  ])('when %s is asked wrongly (%o), answers %i', async (path, init, status) => {
    expect((await ask(path, init)).status).toBe(status);
  });
});
