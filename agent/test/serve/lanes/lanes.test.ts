import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent as HttpAgent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/host/clock.js';
import { ProcessServing, type LabelRecord } from '../../../src/serve/index.js';
import type { InstalledModel } from '../../../src/update/ports.js';
import { installClassifier } from '../installed-classifier.js';
import { memoryRecorder } from '../memory-recorder.js';

const { signal } = new AbortController();
const VALUES = [1, 2, 3, 4];
const TENSOR = { name: 'features', datatype: 'FP32', shape: [1, 4] };
/** So many that each of the three threads has some, but for one run in a million. */
const CONNECTIONS = 36;

const SHADOW = { mode: 'shadow', share: 1, until: Date.UTC(2100, 0, 1) } as const;

interface Answer {
  readonly status: number;
  readonly body: {
    readonly id: string;
    readonly model_version: string;
    readonly outputs: readonly { readonly data: readonly number[] }[];
    readonly error?: string;
  };
}

describe('when several threads speak the protocol', () => {
  const recorder = memoryRecorder();
  const incidents: unknown[] = [];
  let directory: string;
  let serving: ProcessServing;
  let first: InstalledModel;
  let connections: HttpAgent[];

  const send = (connection: number, path: string, body: object): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const { port } = serving.address;
      const options = { agent: connections[connection], host: '127.0.0.1', port, method: 'POST', path };
      const call = request(options, (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.once('end', () =>
          resolve({
            status: answer.statusCode ?? 0,
            body: JSON.parse(Buffer.concat(chunks).toString() || '{}') as Answer['body'],
          }),
        );
      });
      call.once('error', reject);
      call.end(JSON.stringify(body));
    });
  const infer = (connection: number, id = 'request', input: object = { data: VALUES }): Promise<Answer> =>
    send(connection, '/v2/models/classifier/infer', { id, inputs: [{ ...TENSOR, ...input }] });
  const onAll = <Result>(ask: (connection: number) => Promise<Result>): Promise<Result[]> =>
    Promise.all(connections.map((_, connection) => ask(connection)));

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'drover-lanes-'));
    recorder.records.length = 0;
    recorder.comparisons.length = 0;
    incidents.length = 0;
    first = await installClassifier({ directory: join(directory, '1') });
    connections = Array.from({ length: CONNECTIONS }, () => new HttpAgent({ keepAlive: true, maxSockets: 1 }));
    serving = await ProcessServing.open({
      host: '127.0.0.1',
      port: 0,
      protocolThreads: 3,
      sharedMemory: true,
      providers: ['cpu'],
      hardwareClass: 'generic',
      serverVersion: '0.1.0',
      clock: systemClock,
      recorder,
      onIncident: (error) => void incidents.push(error),
    });
    await serving.activate(first, signal);
  });
  afterEach(async () => {
    for (const connection of connections) connection.destroy();
    await serving.close();
    rmSync(directory, { recursive: true });
    expect(incidents).toEqual([]);
  });

  it('answers alike on every connection, and records all of it', async () => {
    const answers = (
      await Promise.all([1, 2, 3].map((round) => onAll((each) => infer(each, `${round}/${each}`))))
    ).flat();
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(answers.map(({ body }) => JSON.stringify(body.outputs))).size).toBe(1);
    await expect.poll(() => recorder.records.length, { timeout: 20_000 }).toBe(3 * CONNECTIONS);
    expect(new Set(recorder.records.map(({ requestId }) => requestId)).size).toBe(3 * CONNECTIONS);
  });

  it('joins ground truth with what another thread has just served', async () => {
    const unknown: string[] = [];
    const join = recorder.label.bind(recorder);
    recorder.label = (label: LabelRecord) => {
      if (!recorder.records.some(({ requestId }) => requestId === label.requestId)) unknown.push(label.requestId);
      return join(label);
    };
    await onAll(async (each) => {
      const id = `labelled ${each}`;
      await infer(each, id);
      const path = '/v2/models/classifier/feedback';
      expect((await send((each + 1) % CONNECTIONS, path, { id, labels: [0] })).status).toBe(200);
    });
    expect(unknown).toEqual([]);
  });

  it('when releases follow each other, none answers after a later one has', async () => {
    let newest = 0;
    let isOver = false;
    const turns = onAll(async (each) => {
      while (!isOver) {
        const before = newest;
        const { status, body } = await infer(each);
        expect(status).toBe(200);
        const patch = Number(body.model_version.split('.')[2]);
        expect(patch).toBeGreaterThanOrEqual(before);
        newest = Math.max(newest, patch);
      }
    });
    for (let patch = 1; patch <= 5; patch += 1) {
      const version = `1.0.${patch}`;
      await serving.activate(
        await installClassifier({ directory: join(directory, version), version, seed: patch }),
        signal,
      );
      expect((await infer(0)).body.model_version).toBe(version);
    }
    isOver = true;
    await turns;
  });

  it('when a release is tried, every connection sees it begin and end', async () => {
    const candidate = await installClassifier({ directory: join(directory, '2'), seed: 2, version: '2.0.0' });
    await onAll((each) => infer(each));
    await serving.startTrial({ candidate, terms: { mode: 'split', share: 1, until: Date.UTC(2100, 0, 1) } }, signal);
    expect(new Set((await onAll((each) => infer(each))).map(({ body }) => body.model_version))).toEqual(
      new Set(['2.0.0']),
    );
    await serving.endTrial(first.model);
    expect(new Set((await onAll((each) => infer(each))).map(({ body }) => body.model_version))).toEqual(
      new Set(['1.0.0']),
    );
  });

  it('when a release runs in the shadow, every request that was answered is compared once, or counted as left out', async () => {
    const candidate = await installClassifier({ directory: join(directory, '2'), version: '2.0.0' });
    await serving.startTrial({ candidate, terms: SHADOW }, signal);
    for (let connection = 0; connection < CONNECTIONS; connection++)
      expect((await infer(connection)).body.model_version).toBe('1.0.0');
    await expect.poll(() => recorder.comparisons.length).toBe(CONNECTIONS);
    const compared = recorder.comparisons.filter(({ outcome }) => outcome === 'compared');
    expect(compared.length).toBeGreaterThan(0);
    for (const { agreement } of compared) expect(agreement).toMatchObject({ compared: 1, value: 1 });
    expect(recorder.comparisons.filter(({ outcome }) => outcome !== 'compared' && outcome !== 'dropped')).toEqual([]);
  });

  it('when the shadow ends under load, no request and no thread fails', async () => {
    const candidate = await installClassifier({ directory: join(directory, '2'), version: '2.0.0' });
    let isOver = false;
    const turns = onAll(async (each) => {
      while (!isOver) expect((await infer(each)).status).toBe(200);
    });
    for (let round = 0; round < 4; round++) {
      await serving.startTrial({ candidate, terms: SHADOW }, signal);
      await new Promise((resolve) => setTimeout(resolve, 20));
      if (round % 2 === 0) await serving.endTrial(first.model);
      // The next trial takes the place of this one; a release takes over beside it.
      else await serving.activate(first, signal);
    }
    isOver = true;
    await turns;
    expect(incidents).toEqual([]);
    expect(recorder.comparisons.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
  });

  it('when a client has registered shared memory, it lies there for every connection', async () => {
    const key = `drover-lanes-${process.pid}`;
    writeFileSync(`/dev/shm/${key}`, new Uint8Array(Float32Array.from(VALUES).buffer));
    try {
      const [plain] = await onAll((each) => infer(each));
      const registered = await send(1, '/v2/systemsharedmemory/region/inputs/register', {
        key,
        offset: 0,
        byte_size: 16,
      });
      expect(registered.status).toBe(200);
      const input = { parameters: { shared_memory_region: 'inputs', shared_memory_byte_size: 16 } };
      for (const { status, body } of await onAll((each) => infer(each, 'placed', input))) {
        expect(status).toBe(200);
        expect(body.outputs).toEqual(plain?.body.outputs);
      }
      await send(2, '/v2/systemsharedmemory/region/inputs/unregister', {});
      for (const { status } of await onAll((each) => infer(each, 'gone', input))) expect(status).toBe(400);
    } finally {
      rmSync(`/dev/shm/${key}`);
    }
  });

  it('when a model is not served, says so on every connection', async () => {
    await serving.deactivate(first.model);
    for (const { status, body } of await onAll((each) => infer(each))) {
      expect(status).toBe(404);
      expect(body.error).toContain('"classifier" is not served here');
    }
  });
});
