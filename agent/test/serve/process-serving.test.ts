import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Version } from '@drover/shared/ids';
import { createInferenceClient } from '../../src/client/index.js';
import { systemClock } from '../../src/host/clock.js';
import { MonitorError } from '../../src/monitor/errors.js';
import { ProcessServing, type LabelDesk, type ProcessServingOptions } from '../../src/serve/index.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { installClassifier } from './installed-classifier.js';
import { memoryRecorder, type MemoryRecorder } from './memory-recorder.js';

const signal = new AbortController().signal;
const REQUEST = JSON.stringify({ inputs: [{ name: 'features', datatype: 'FP32', shape: [1, 4], data: [1, 2, 3, 4] }] });

const overloadedTelemetry = new MonitorError('TELEMETRY_OVERLOADED', 'Too much waits.', { remedy: 'Send less.' });

const labelDesk: LabelDesk = {
  labelRequests: (model) =>
    Promise.resolve([
      {
        id: 'asked',
        model,
        version: Version('1.0.0'),
        requestId: 'r',
        row: 0,
        reason: 'random',
        requestedAtMs: 1,
        servedAtMs: 1,
        prediction: 1,
        confidence: 0.5,
        features: Float32Array.of(1, 2, 3, 4),
      },
    ]),
  answerLabel: ({ id, label }) =>
    id === 'asked' && label === 2 ? Promise.resolve('joined') : Promise.reject(overloadedTelemetry),
};

/** Polls what happens in other processes; the test's own time-out is the bound. */
async function until<Value>(read: () => Promise<Value | undefined> | Value | undefined): Promise<Value> {
  for (;;) {
    const value = await read();
    if (value !== undefined && value !== false) return value;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe('serving from a process of its own', () => {
  let directory: string;
  let recorder: MemoryRecorder;
  let first: InstalledModel;
  let second: InstalledModel;
  const incidents: unknown[] = [];
  const opened: ProcessServing[] = [];

  const open = async (overrides: Partial<ProcessServingOptions> = {}): Promise<ProcessServing> => {
    const serving = await ProcessServing.open({
      host: '127.0.0.1',
      port: 0,
      providers: ['cpu'],
      hardwareClass: 'generic',
      serverVersion: '0.1.0',
      clock: systemClock,
      recorder,
      labelDesk,
      onIncident: (error) => void incidents.push(error),
      ...overrides,
    });
    opened.push(serving);
    return serving;
  };
  const infer = async (serving: ProcessServing, body = REQUEST) => {
    const response = await fetch(`http://127.0.0.1:${serving.address.port}/v2/models/classifier/infer`, {
      method: 'POST',
      body,
    });
    return { status: response.status, body: (await response.json()) as { id: string; model_version: string } };
  };

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'drover-process-'));
    recorder = memoryRecorder();
    incidents.length = 0;
    first = await installClassifier({ directory: join(directory, '1'), seed: 1 });
    second = await installClassifier({ directory: join(directory, '2'), seed: 2, version: '2.0.0' });
  });
  afterEach(async () => {
    for (const serving of opened.splice(0)) await serving.close();
    rmSync(directory, { recursive: true });
  });

  it('when a release has a contract of its inputs, it refuses what breaks it, and the counts reach this process', async () => {
    const rules = [{ rule: 'range' as const, column: 0, max: 1 }];
    const contract = { ...first.manifest.contract, inputs: { action: 'reject' as const, inputs: [{ name: 'features', rules }] } }; // prettier-ignore
    const serving = await open();
    await serving.activate({ ...first, manifest: { ...first.manifest, contract } }, signal);
    expect((await infer(serving)).status).toBe(200);
    expect((await infer(serving, REQUEST.replace('[1,2,3,4]', '[2,2,3,4]'))).status).toBe(422);
    const counted = await until(() =>
      recorder.inputCounts.reduce((rows, each) => rows + each.rows, 0) === 2 ? recorder.inputCounts : undefined,
    );
    expect(counted.reduce((requests, each) => requests + each.refusedRequests, 0)).toBe(1);
    expect(counted.flatMap(({ violations }) => violations)).toMatchObject([{ rule: 0, feature: '0', rows: 1 }]);
    expect(serving.health(first.model)).toMatchObject({ requests: 1, failures: 0 });
  });

  it('when a release is activated, it serves it, and records and labels reach this process', async () => {
    const serving = await open();
    await expect(serving.activate(first, signal)).resolves.toMatchObject({
      loaded: first.loaded,
      provider: { actual: 'cpu' },
    });
    const { status, body } = await infer(serving);
    expect([status, body.model_version]).toEqual([200, '1.0.0']);
    const feedback = async () => {
      const url = `http://127.0.0.1:${serving.address.port}/v2/models/classifier/feedback`;
      const answer = await fetch(url, { method: 'POST', body: JSON.stringify({ id: body.id, labels: [2] }) });
      return { status: answer.status, body: await answer.json() };
    };
    expect(await feedback()).toMatchObject({ status: 200, body: { joined: 1 } });
    const client = createInferenceClient({ url: `http://127.0.0.1:${serving.address.port}` });
    expect(await client.labelRequests('classifier')).toMatchObject([{ id: 'asked', features: [1, 2, 3, 4] }]);
    expect(await client.answerLabel('classifier', 'asked', 2)).toBe('joined');
    await expect(client.answerLabel('classifier', 'other', 2)).rejects.toMatchObject({
      agentCode: 'TELEMETRY_OVERLOADED',
    });
    client.close();
    recorder.label = () => Promise.reject(overloadedTelemetry);
    expect(await feedback()).toMatchObject({ status: 503, body: { code: 'TELEMETRY_OVERLOADED' } });
    expect(recorder.labels).toMatchObject([{ requestId: body.id, labels: [2] }]);
    expect(recorder.records).toMatchObject([
      { requestId: body.id, release: first.release, features: { width: 4, count: 1 } },
    ]);
    expect(recorder.records[0]?.features?.values).toEqual(Float32Array.of(1, 2, 3, 4));
    expect(serving.health(first.model)).toMatchObject({ requests: 1, failures: 0, crashes: 0 });
    await serving.deactivate(first.model);
    expect((await infer(serving)).status).toBe(404);
  });

  it('when the process is killed, it serves again on the same port with the same model, and counts the crash', async () => {
    const serving = await open();
    await serving.activate(first, signal);
    const { port } = serving.address;
    const { pid } = serving;
    if (pid === undefined) throw new Error('the inference process has no pid');
    process.kill(pid, 'SIGKILL');
    const answer = await until(() => infer(serving).catch(() => undefined));
    expect([answer.status, answer.body.model_version, serving.address.port]).toEqual([200, '1.0.0', port]);
    expect(serving.pid).not.toBe(pid);
    await until(() => serving.running(first.model));
    expect(serving.health(first.model).crashes).toBe(1);
    expect(incidents).toMatchObject([
      { code: 'INFERENCE_PROCESS_DIED', message: expect.stringContaining('SIGKILL') as unknown },
    ]);
  });

  it('when releases are swapped under load, no request fails', async () => {
    const serving = await open();
    await serving.activate(first, signal);
    let isSwapping = true;
    const statuses: number[] = [];
    const client = async () => {
      while (isSwapping) statuses.push((await infer(serving)).status);
    };
    const clients = [client(), client(), client(), client()];
    for (let swap = 0; swap < 4; swap++) await serving.activate(swap % 2 === 0 ? second : first, signal);
    isSwapping = false;
    await Promise.all(clients);
    expect(statuses.length).toBeGreaterThan(10);
    expect(new Set(statuses)).toEqual(new Set([200]));
  });

  it('when a candidate on trial is taken back, the release before answers again at once, and after a crash as well', async () => {
    const serving = await open();
    await serving.activate(first, signal);
    await serving.activate(second, signal, 'keep');
    await serving.activate(first, signal);
    expect((await infer(serving)).body.model_version).toBe('1.0.0');
    await serving.activate(second, signal, 'keep');
    process.kill(serving.pid ?? 0, 'SIGKILL');
    await until(() => serving.running(first.model) === undefined);
    await serving.activate(first, signal);
    expect((await infer(serving)).body.model_version).toBe('1.0.0');
    await serving.activate(second, signal, 'keep');
    await serving.dropKept(first.model);
    expect((await infer(serving)).body.model_version).toBe('2.0.0');
  });

  it('when the process is down, another release can still be activated', async () => {
    const serving = await open();
    await serving.activate(first, signal);
    process.kill(serving.pid ?? 0, 'SIGKILL');
    await until(() => serving.running(first.model) === undefined);
    await expect(serving.activate(second, signal)).resolves.toMatchObject({ loaded: second.loaded });
    expect((await infer(serving)).body.model_version).toBe('2.0.0');
    expect(serving.health(second.model).crashes).toBe(0);
  });

  it('when the port is taken, opening says so', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as { port: number };
    await expect(open({ port })).rejects.toMatchObject({ code: 'PORT_IN_USE', where: `127.0.0.1:${port}` });
    other.close();
  });

  it('when a candidate is tested, a probe process tells how it went', async () => {
    const serving = await open();
    await expect(serving.selfTest(first, signal)).resolves.toMatchObject({ provider: { actual: 'cpu' } });
    const golden = { ...first.manifest.goldenVectors, path: 'model.onnx' };
    await expect(
      serving.selfTest({ ...first, manifest: { ...first.manifest, goldenVectors: golden } }, signal),
    ).rejects.toMatchObject({
      code: 'GOLDEN_VECTORS_INVALID',
    });
    await expect(serving.selfTest({ ...first, loaded: second.loaded }, signal)).rejects.toMatchObject({
      code: 'MODEL_UNLOADABLE',
    });
  });

  it('when the self-test is aborted, the probe ends and the reason is given', async () => {
    const serving = await open();
    const abort = new AbortController();
    const testing = serving.selfTest(first, abort.signal);
    abort.abort(new Error('superseded'));
    await expect(testing).rejects.toThrow('superseded');
  });

  it('when it is told of a socket, of shared memory and of a bound, its process heeds them, also in its next life', async () => {
    const socket = join(directory, 'inference.sock');
    const serving = await open({ socket, sharedMemory: true, maxBodyBytes: 200_000 });
    await serving.activate(first, signal);
    const client = createInferenceClient({ socketPath: socket });
    const ask = (rows: number) =>
      client.infer('classifier', {
        features: { datatype: 'FP32', shape: [rows, 4], data: new Float32Array(4 * rows) },
      });
    expect((await ask(1)).version).toBe('1.0.0');
    await expect(ask(20_000)).rejects.toMatchObject({ agentCode: 'REQUEST_TOO_LARGE' });
    const { extensions } = (await (await fetch(`http://127.0.0.1:${serving.address.port}/v2`)).json()) as {
      extensions: string[];
    };
    expect(extensions).toContain('system_shared_memory');
    process.kill(serving.pid ?? 0, 'SIGKILL');
    await until(() => ask(1).then(({ version }) => version === '1.0.0', () => undefined)); // prettier-ignore
    client.close();
  });
});

describe('a probe that goes wrong', () => {
  /** Flags make the child do what a broken native library would, before its first line runs. */
  const probe = async (script: string) => {
    const { runProbe } = await import('../../src/serve/process/probe.js');
    const directory = mkdtempSync(join(tmpdir(), 'drover-probe-'));
    try {
      const options = {
        settings: { providers: ['cpu'], hardwareClass: 'generic' },
        nodeFlags: ['--import', `data:text/javascript,${encodeURIComponent(script)}`],
        timeoutMs: 1_000,
      };
      return await runProbe(await installClassifier({ directory }), options, signal);
    } finally {
      rmSync(directory, { recursive: true });
    }
  };

  it('when it crashes natively, that is the outcome of the self-test', async () => {
    await expect(probe("process.kill(process.pid, 'SIGSEGV'); for (;;);")).rejects.toMatchObject({
      code: 'SELF_TEST_CRASHED',
      message: expect.stringContaining('SIGSEGV') as unknown,
    });
  });

  it('when it hangs, it is killed after its time', async () => {
    await expect(probe('for (;;);')).rejects.toMatchObject({ code: 'SELF_TEST_TIMEOUT' });
  });
});

describe('the supervisor side of serving and monitoring', () => {
  it('when it is imported, the ONNX runtime is not loaded', () => {
    const script = `
      import { createRequire } from 'node:module';
      await import(${JSON.stringify(new URL('../../dist/serve/index.js', import.meta.url).href)});
      await import(${JSON.stringify(new URL('../../dist/monitor/index.js', import.meta.url).href)});
      const loaded = Object.keys(createRequire(import.meta.url).cache).filter((file) => file.includes('onnxruntime'));
      process.stdout.write(JSON.stringify(loaded));`;
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    expect(JSON.parse(output)).toEqual([]);
  });
});
