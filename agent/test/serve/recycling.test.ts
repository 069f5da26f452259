import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent as HttpAgent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createInferenceClient } from '../../src/client/index.js';
import { systemClock } from '../../src/host/clock.js';
import { ProcessServing, type ProcessServingOptions } from '../../src/serve/index.js';
import {
  GRPCInferenceService,
  type ModelInferRequestSchema,
} from '../../src/serve/protocol/grpc/generated/inference_pb.js';
import { MemoryCeiling } from '../../src/serve/process/memory-ceiling.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { virtualClock } from '../update/fixtures/virtual-clock.js';
import { installClassifier } from './installed-classifier.js';
import { memoryRecorder, type MemoryRecorder } from './memory-recorder.js';

const signal = new AbortController().signal;
const BODY = JSON.stringify({ inputs: [{ name: 'features', datatype: 'FP32', shape: [1, 4], data: [1, 2, 3, 4] }] });

/** Polls what happens in other processes; the test's own time-out is the bound. */
async function until<Value>(read: () => Promise<Value | undefined> | Value | undefined): Promise<Value> {
  for (;;) {
    const value = await read();
    if (value !== undefined && value !== false) return value;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** One request on whatever connection the agent gives it. */
const answerOf = (agent: HttpAgent, port: number, body = BODY): Promise<{ status: number; version?: string }> =>
  new Promise((resolve, reject) => {
    const call = request(
      { agent, port, host: '127.0.0.1', method: 'POST', path: '/v2/models/classifier/infer' },
      (answer) => {
        let text = '';
        answer.on('data', (bytes: Buffer) => (text += bytes.toString()));
        answer.once('end', () => {
          const { model_version: version } = JSON.parse(text) as { model_version?: string };
          resolve({ status: answer.statusCode ?? 0, ...(version === undefined ? {} : { version }) });
        });
      },
    );
    call.once('error', reject);
    call.end(body);
  });
const ask = async (agent: HttpAgent, port: number): Promise<number> => (await answerOf(agent, port)).status;

/** A gRPC stream on a connection of its own, asked one request at a time. */
function openStream(port: number) {
  const client = createClient(GRPCInferenceService, createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` }));
  const requests = new PassThrough({ objectMode: true });
  const asked = client.modelStreamInfer(requests as AsyncIterable<MessageInitShape<typeof ModelInferRequestSchema>>);
  const answers = asked[Symbol.asyncIterator]();
  return {
    /** @returns the version that answered */
    async ask(): Promise<string | undefined> {
      requests.write({
        modelName: 'classifier',
        inputs: [{ name: 'features', datatype: 'FP32', shape: [1n, 4n], contents: { fp32Contents: [1, 2, 3, 4] } }],
      });
      const answer = await answers.next();
      return answer.done === true ? undefined : answer.value.inferResponse?.modelVersion;
    },
    end: () => void requests.end(),
  };
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('an inference process whose place another takes', () => {
  let directory: string;
  let recorder: MemoryRecorder;
  let first: InstalledModel;
  const incidents: unknown[] = [];
  const opened: ProcessServing[] = [];
  const agents: HttpAgent[] = [];

  const open = async (overrides: Partial<ProcessServingOptions> = {}): Promise<ProcessServing> => {
    const serving = await ProcessServing.open({
      host: '127.0.0.1',
      port: 0,
      providers: ['cpu'],
      hardwareClass: 'generic',
      serverVersion: '0.1.0',
      clock: systemClock,
      recorder,
      onIncident: (error) => void incidents.push(error),
      ...overrides,
    });
    opened.push(serving);
    return serving;
  };
  const keepAlive = (): HttpAgent => {
    const agent = new HttpAgent({ keepAlive: true, maxSockets: 1 });
    agents.push(agent);
    return agent;
  };

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'drover-recycling-'));
    recorder = memoryRecorder();
    incidents.length = 0;
    first = await installClassifier({ directory: join(directory, '1'), seed: 1 });
  });
  afterEach(async () => {
    for (const agent of agents.splice(0)) agent.destroy();
    for (const serving of opened.splice(0)) await serving.close();
    rmSync(directory, { recursive: true });
  });

  it('when it is relieved under load, no request fails, each is recorded, and the old one ends with its last connection', async () => {
    const serving = await open();
    await serving.activate(first, signal);
    const { port } = serving.address;
    const old = serving.pid ?? 0;
    const idle = keepAlive();
    expect(await ask(idle, port)).toBe(200);
    let isLoading = true;
    const statuses: number[] = [];
    const client = async (agent: HttpAgent): Promise<void> => {
      while (isLoading) statuses.push(await ask(agent, port));
    };
    const clients = [client(keepAlive()), client(keepAlive()), client(new HttpAgent())];
    await until(() => statuses.length > 20);
    await serving.recycle();
    expect(serving.pid).not.toBe(old);
    expect(serving.running(first.model)).toMatchObject({ loaded: first.loaded });
    const seen = statuses.length;
    await until(() => statuses.length > seen + 20);
    isLoading = false;
    await Promise.all(clients);
    expect(new Set(statuses)).toEqual(new Set([200]));
    // It was silent all the while, and its client could have sent a request at any moment: it is still there, and served.
    expect(isAlive(old)).toBe(true);
    expect(await ask(idle, port)).toBe(200);
    await until(() => !isAlive(old));
    await until(() => recorder.records.length === statuses.length + 2);
    expect(serving.health(first.model)).toMatchObject({ requests: statuses.length + 2, failures: 0, crashes: 0 });
    expect(incidents).toMatchObject([{ code: 'INFERENCE_RECYCLED' }]);
  });

  it.each([1, 2])(
    'when another release takes over after that, no old connection answers with the one before (threads: %i)',
    async (protocolThreads) => {
      const serving = await open({ protocolThreads });
      await serving.activate(first, signal);
      const { port } = serving.address;
      const old = Array.from({ length: 6 }, keepAlive);
      const answered = (version: string) => Array.from(old, () => ({ status: 200, version }));
      expect(await Promise.all(old.map((agent) => answerOf(agent, port)))).toEqual(answered('1.0.0'));
      const stream = openStream(port);
      expect(await stream.ask()).toBe('1.0.0');
      const { pid } = serving;
      await serving.recycle();
      expect(serving.pid).not.toBe(pid);
      await serving.activate(await installClassifier({ directory: join(directory, '2'), version: '2.0.0' }), signal);
      // Also what is refused is refused by the other.
      const refused = await answerOf(old[0] ?? keepAlive(), port, '{"inputs": 5}');
      expect(refused).toEqual({ status: 400 });
      expect(await Promise.all(old.map((agent) => answerOf(agent, port)))).toEqual(answered('2.0.0'));
      expect([await stream.ask(), await stream.ask()]).toEqual(['2.0.0', '2.0.0']);
      stream.end();
      await until(() => !isAlive(pid ?? 0));
    },
  );

  it('when applications use a Unix socket and shared memory, they find both again', async () => {
    const socketPath = join(directory, 'inference.sock');
    const serving = await open({ socket: socketPath, sharedMemory: true });
    await serving.activate(first, signal);
    const key = `drover-recycling-${process.pid}`;
    writeFileSync(`/dev/shm/${key}`, Buffer.alloc(64));
    const regions = (what: string, init?: RequestInit) =>
      fetch(`http://127.0.0.1:${serving.address.port}/v2/systemsharedmemory${what}`, init);
    const register = async (name: string) => {
      const body = JSON.stringify({ key: `/${key}`, byte_size: 64 });
      return (await regions(`/region/${name}/register`, { method: 'POST', body })).status;
    };
    try {
      expect(await register('inputs')).toBe(200);
      const relief = serving.recycle();
      // With the one that goes, while the other loads.
      expect(await register('outputs')).toBe(200);
      await relief;
      expect(await (await regions('/status')).json()).toMatchObject([{ name: 'inputs' }, { name: 'outputs' }]);
      const client = createInferenceClient({ socketPath });
      const features = { datatype: 'FP32', shape: [1, 4], data: new Float32Array(4) } as const;
      expect((await client.infer('classifier', { features })).version).toBe('1.0.0');
      client.close();
    } finally {
      rmSync(`/dev/shm/${key}`);
    }
  });

  it('when the other cannot load a model, the first goes on, and says why', async () => {
    const serving = await open();
    await serving.activate(first, signal);
    const { pid } = serving;
    writeFileSync(first.modelFile, 'damaged');
    await serving.recycle();
    expect(serving.pid).toBe(pid);
    expect(await ask(keepAlive(), serving.address.port)).toBe(200);
    expect(incidents).toMatchObject([{ code: 'MODEL_UNLOADABLE' }]);
  });

  it('when a candidate is on trial, nothing is relieved', async () => {
    const serving = await open();
    await serving.activate(first, signal);
    await serving.activate(
      await installClassifier({ directory: join(directory, '2'), version: '2.0.0' }),
      signal,
      'keep',
    );
    const { pid } = serving;
    await serving.recycle();
    expect(serving.pid).toBe(pid);
  });

  it('when it has passed its ceiling, it is relieved by itself, once', async () => {
    const serving = await open({ maxResidentMiB: 1 });
    await until(() => incidents.length > 0);
    expect(incidents).toMatchObject([
      { code: 'INFERENCE_RECYCLED', message: expect.stringContaining('without an outage') as unknown },
    ]);
    await serving.activate(first, signal);
    expect(await ask(keepAlive(), serving.address.port)).toBe(200);
  });

  it('when it is killed, connections wait for the next one instead of being refused', async () => {
    const serving = await open();
    await serving.activate(first, signal);
    const { pid } = serving;
    process.kill(pid ?? 0, 'SIGKILL');
    await until(() => serving.running(first.model) === undefined);
    expect(await ask(new HttpAgent(), serving.address.port)).toBe(200);
    expect(serving.pid).not.toBe(pid);
  });

  it('when all is closed, nobody listens any more', async () => {
    const socketPath = join(directory, 'inference.sock');
    const serving = await open({ socket: socketPath });
    await serving.recycle();
    const { port } = serving.address;
    await serving.close();
    await expect(ask(new HttpAgent(), port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    const client = createInferenceClient({ socketPath });
    await expect(client.infer('classifier', {})).rejects.toThrow();
    client.close();
  });
});

describe('the ceiling of a process', () => {
  it('when the models themselves need more, it is raised to what they need afresh', () => {
    const ceiling = new MemoryCeiling({ maxMiB: 100, clock: virtualClock() });
    expect([ceiling.isPassedBy(100), ceiling.isPassedBy(101)]).toEqual([false, true]);
    ceiling.recycled(200);
    expect(ceiling.miB).toBe(250);
  });

  it('when one was relieved, the next lives for ten minutes at least', () => {
    const clock = virtualClock();
    const ceiling = new MemoryCeiling({ maxMiB: 100, clock });
    ceiling.recycled(50);
    expect(ceiling.isPassedBy(1_000)).toBe(false);
    clock.advance(10 * 60_000);
    expect(ceiling.isPassedBy(1_000)).toBe(true);
  });
});
