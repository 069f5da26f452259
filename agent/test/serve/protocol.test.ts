import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { listenInference, type InferenceServer, type ServedModels } from '../../src/serve/inline/index.js';
import { dataToJson, readTensor } from '../../src/serve/tensors/json.js';
import { CLASSES, installClassifier } from './installed-classifier.js';
import { memoryRecorder } from './memory-recorder.js';
import { testServing } from './test-serving.js';

const MAX_BODY_BYTES = 100_000;
const directory = mkdtempSync(join(tmpdir(), 'drover-protocol-'));
const recorder = memoryRecorder();
const serving = testServing(recorder);
let server: InferenceServer;
let url: string;

beforeAll(async () => {
  await serving.activate(await installClassifier({ directory }), new AbortController().signal);
  server = await listenInference({
    host: '127.0.0.1',
    port: 0,
    models: serving,
    serverVersion: '0.1.0',
    maxBodyBytes: MAX_BODY_BYTES,
  });
  url = `http://127.0.0.1:${server.port}`;
});
afterAll(async () => {
  await server.close();
  await serving.close();
  rmSync(directory, { recursive: true });
});
afterEach(() => {
  recorder.records.length = 0;
  recorder.labels.length = 0;
});

const post = async (path: string, body: string | object, headers: Record<string, string> = {}) => {
  const response = await fetch(url + path, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers,
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
};
const get = async (path: string) => {
  const response = await fetch(url + path);
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
};
const features = (shape: number[], data: unknown) => ({ name: 'features', datatype: 'FP32', shape, data });
const INFER = '/v2/models/classifier/infer';

describe('the inference protocol', () => {
  it('when asked about itself and its models, it answers as the Open Inference Protocol says', async () => {
    expect(await get('/v2')).toMatchObject({ status: 200, body: { name: 'drover', version: '0.1.0' } });
    expect(await get('/v2/health/live')).toEqual({ status: 200, body: { live: true } });
    expect(await get('/v2/health/ready/')).toEqual({ status: 200, body: { ready: true } });
    expect(await get('/v2/models/classifier/versions/1.0.0')).toEqual({
      status: 200,
      body: {
        name: 'classifier',
        versions: ['1.0.0'],
        platform: 'onnx_onnxv1',
        inputs: [{ name: 'features', datatype: 'FP32', shape: [-1, 4] }],
        outputs: [
          { name: 'logits', datatype: 'FP32', shape: [-1, CLASSES] },
          { name: 'probabilities', datatype: 'FP32', shape: [-1, CLASSES] },
        ],
        properties: { task: 'classification', variant: 'any', precision: 'fp32' },
      },
    });
    expect(await get('/v2/models/classifier/ready')).toEqual({
      status: 200,
      body: { name: 'classifier', ready: true },
    });
    expect(await post('/v2/repository/index', '')).toEqual({
      status: 200,
      body: [{ name: 'classifier', version: '1.0.0', state: 'READY', reason: '' }],
    });
  });

  it('when data is flat or nested, it gives the same answer', async () => {
    const flat = await post(INFER, { id: 'a', inputs: [features([2, 4], [1, 2, 3, 4, 5, 6, 7, 8])] });
    const nested = await post(INFER, { id: 'a', inputs: [features([2, 4], [[1, 2, 3, 4], [5, 6, 7, 8]])] }); // prettier-ignore
    expect(flat).toMatchObject({ status: 200, body: { id: 'a', model_name: 'classifier', model_version: '1.0.0' } });
    expect(nested).toEqual(flat);
  });

  it('when outputs are chosen and no id is given, it answers those, with an id of its own', async () => {
    const { body } = await post(INFER, {
      inputs: [features([1, 4], [1, 2, 3, 4])],
      outputs: [{ name: 'probabilities' }],
    });
    expect(body['id']).toMatch(/^[0-9a-f-]{36}$/);
    expect(body['outputs']).toMatchObject([{ name: 'probabilities', shape: [1, CLASSES], datatype: 'FP32' }]);
    expect(recorder.records).toMatchObject([{ requestId: body['id'], failed: false }]);
  });

  it('when labels follow a request, it answers what became of them', async () => {
    expect(await post('/v2/models/classifier/feedback', { id: 'a', labels: [1, null] })).toEqual({
      status: 200,
      body: { id: 'a', labels: 2, joined: 1, repeated: 0, conflicting: 0, gone: 0 },
    });
    expect(recorder.labels).toMatchObject([{ requestId: 'a', labels: [1, null] }]);
  });

  it.each([
    [404, 'FEEDBACK_SAMPLE_GONE', { rows: 0, joined: 0, repeated: 0, conflicting: 0, gone: 1 }],
    [409, 'FEEDBACK_CONFLICTS', { rows: 1, joined: 0, repeated: 0, conflicting: 1, gone: 0 }],
  ])('when labels hold for no row, it answers %i %s', async (status, code, outcome) => {
    recorder.outcome = outcome;
    const answer = await post('/v2/models/classifier/feedback', { id: 'a', labels: [1] });
    recorder.outcome = undefined;
    expect(answer).toMatchObject({ status, body: { code } });
  });

  it.each([
    [400, INFER, '{'],
    [400, INFER, '[]'],
    [400, INFER, { inputs: [] }],
    [400, INFER, { inputs: [features([1, 4], [1, 2, 3])] }],
    [400, INFER, { inputs: [features([1, 3], [1, 2, 3])] }],
    [400, INFER, { inputs: [features([0, 4], [])] }],
    [400, INFER, { inputs: [features([2 ** 31 - 1, 2 ** 31 - 1, 2 ** 31 - 1], [1])] }],
    [400, INFER, { inputs: [features([1, 4], [1, 2, 3, 'four'])] }],
    [400, INFER, { inputs: [features([1, 4], [1, 2, 3, 1e300])] }],
    [400, INFER, { inputs: [features([2, 2], [[1, 2, 3], [4]])] }],
    [400, INFER, { inputs: [features([1, 4], [[[1], 2, 3, 4]])] }],
    [400, INFER, { inputs: [{ ...features([1, 4], [1, 2, 3, 4]), datatype: 'BYTES' }] }],
    [400, INFER, { inputs: [{ ...features([1, 4], [1, 2, 3, 4]), name: '__proto__' }] }],
    [400, INFER, { inputs: [features([1, 4], [1, 2, 3, 4]), features([1, 4], [1, 2, 3, 4])] }],
    [400, INFER, { inputs: [features([1, 4], [1, 2, 3, 4])], outputs: [{ name: 'nothing' }] }],
    [400, '/v2/models/classifier/feedback', { id: 'a', labels: [7] }],
    [400, '/v2/models/classifier/feedback', { id: 'a', labels: [0.5] }],
    [400, '/v2/models/classifier/feedback', { id: 'a', labels: [null] }],
    [400, '/v2/models/classifier/feedback', { id: 'a', labels: ['no class of it'] }],
    [404, '/v2/models/other/infer', { inputs: [features([1, 4], [1, 2, 3, 4])] }],
    [404, '/v2/models/classifier/versions/9.9.9/infer', { inputs: [features([1, 4], [1, 2, 3, 4])] }],
    [404, '/v2/models/%E0%A4%A/infer', {}],
    [404, '/nothing', {}],
    [405, '/v2/models/classifier', {}],
    [413, INFER, 'x'.repeat(MAX_BODY_BYTES + 1)],
  ])('when a request is wrong, it answers %i with a reason: %s %j', async (status, path, body) => {
    const answer = await post(path, body);
    expect(answer).toMatchObject({ status, body: { error: expect.stringMatching(/\w{3}/) as unknown } });
    expect(await get('/v2/health/live')).toMatchObject({ status: 200 });
  });

  /** Posts until the server ends the connection, and reads only then, as clients do that write first. */
  const postUntilRefused = (write: (socket: Socket) => Promise<void> | void): Promise<string> =>
    new Promise((resolve) => {
      let answer = '';
      const socket = connect(server.port, '127.0.0.1', () => {
        socket.pause();
        void Promise.resolve(write(socket)).then(() => socket.resume());
      });
      socket.on('data', (bytes) => (answer += bytes.toString())).on('close', () => resolve(answer));
      // Whoever writes on when the server has closed is told so; what counts is what was read until then.
      socket.on('error', () => undefined);
    });
  const head = `POST ${INFER} HTTP/1.1\r\nHost: x\r\n`;

  it('when a client writes a body that is too large to its end before it reads, it has its answer', async () => {
    const bytes = 8 * 1024 * 1024;
    const answer = await postUntilRefused((socket) => {
      socket.write(`${head}Content-Length: ${bytes}\r\n\r\n`);
      return new Promise((resolve) => socket.write(Buffer.alloc(bytes, ' '), () => resolve()));
    });
    expect(answer).toMatch(/^HTTP\/1\.1 413 [^]*"REQUEST_TOO_LARGE"/);
  });

  it('when a chunked body never ends, its client has an answer, and is then cut off', async () => {
    const answer = await postUntilRefused((socket) => {
      socket.write(`${head}Transfer-Encoding: chunked\r\n\r\n`);
      const chunk = Buffer.from(`2000\r\n${' '.repeat(0x2000)}\r\n`);
      const writing = setInterval(() => socket.write(chunk), 1);
      socket.once('close', () => clearInterval(writing));
    });
    expect(answer).toMatch(/^HTTP\/1\.1 413 [^]*"REQUEST_TOO_LARGE"/);
  });

  it('when the body is compressed, it is read, and bounded by what comes out', async () => {
    const body = { inputs: [features([1, 4], [1, 2, 3, 4])] };
    const send = async (bytes: Uint8Array<ArrayBuffer>, coding: string) =>
      (await fetch(url + INFER, { method: 'POST', body: bytes, headers: { 'content-encoding': coding } })).status;
    expect(await send(gzipSync(JSON.stringify(body)), 'gzip')).toBe(200);
    expect(await send(deflateSync(JSON.stringify(body)), 'deflate')).toBe(200);
    expect(await send(gzipSync(JSON.stringify(body)).subarray(0, 40), 'gzip')).toBe(400);
    expect(await send(new Uint8Array(10), 'br')).toBe(400);
    expect(await send(gzipSync(Buffer.alloc(MAX_BODY_BYTES * 50)), 'gzip')).toBe(413);
    expect(await get('/v2/health/live')).toMatchObject({ status: 200 });
  });

  it('when too many requests are under way, more are answered 503', async () => {
    let finish: (() => void) | undefined;
    const stuck: ServedModels = {
      served: () => serving.served(),
      find: (model, version) => serving.find(model, version),
      feedback: () => Promise.reject(new Error('stopped')),
      labelRequests: () => Promise.resolve([]),
      answerLabel: () => Promise.reject(new Error('stopped')),
      parameters: (model) => serving.parameters(model),
      rejectParameters: () => undefined,
      infer: () => new Promise((_, reject) => (finish = () => reject(new Error('stopped')))),
    };
    const small = await listenInference({
      host: '127.0.0.1',
      port: 0,
      models: stuck,
      serverVersion: '0',
      maxPending: 1,
    });
    const base = `http://127.0.0.1:${small.port}`;
    const body = JSON.stringify({ inputs: [features([1, 4], [1, 2, 3, 4])] });
    const waiting = fetch(base + INFER, { method: 'POST', body });
    while (!finish) await new Promise((resolve) => setImmediate(resolve));
    const refused = await fetch(`${base}/v2/health/live`);
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    finish();
    expect((await waiting).status).toBe(500);
    await small.close();
  });

  it('when the port is taken, it says which', async () => {
    const again = listenInference({ host: '127.0.0.1', port: server.port, models: serving, serverVersion: '0' });
    await expect(again).rejects.toMatchObject({ code: 'PORT_IN_USE', where: `127.0.0.1:${server.port}` });
  });

  it('when the address is not of this machine, it says so', async () => {
    const elsewhere = listenInference({ host: '192.0.2.1', port: 0, models: serving, serverVersion: '0' });
    await expect(elsewhere).rejects.toMatchObject({ code: 'SERVE_ADDRESS_UNUSABLE' });
  });
});

describe('garbage', () => {
  it('when any bytes are posted, the answer is a client error', async () => {
    const anyPath = fc.constantFrom(INFER, '/v2/models/classifier/feedback', '/v2/models/x/infer');
    await fc.assert(
      fc.asyncProperty(
        anyPath,
        fc.oneof(
          fc.uint8Array({ maxLength: 300 }),
          fc.json().map((text) => Buffer.from(text)),
        ),
        async (path, body) => {
          const response = await fetch(url + path, { method: 'POST', body: new Uint8Array(body) });
          await response.arrayBuffer();
          expect([400, 404]).toContain(response.status);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('when anything stands in the places of a well-formed request, the answer is 200 or a client error', async () => {
    const place = fc.oneof(
      fc.jsonValue({ maxDepth: 3 }),
      fc.constant([1, 2, 3, 4]),
      fc.constant([1, 4]),
      fc.constant('FP32'),
      fc.constant('INT64'),
    );
    const request = fc.record({
      inputs: fc.array(fc.record({ name: fc.constant('features'), shape: place, datatype: place, data: place }), {
        maxLength: 2,
      }),
      outputs: fc.option(place, { nil: undefined }),
    });
    await fc.assert(
      fc.asyncProperty(request, async (body) => {
        const { status } = await post(INFER, body);
        expect([200, 400]).toContain(status);
      }),
      { numRuns: 150 },
    );
  });

  it('when the bytes are not even HTTP, the connection ends', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
        await new Promise<void>((resolve, reject) => {
          const socket = connect(server.port, '127.0.0.1', () => socket.end(bytes));
          socket.on('close', () => resolve()).on('error', () => resolve());
          socket.setTimeout(5_000, () => reject(new Error('the server kept the connection')));
          socket.resume();
        });
      }),
      { numRuns: 50 },
    );
    expect((await get('/v2/health/live')).status).toBe(200);
  });
});

describe('tensors as JSON', () => {
  it.each(['BOOL', 'UINT8', 'UINT32', 'INT8', 'INT16', 'INT64', 'UINT64', 'FP16', 'FP64'] as const)(
    'when a %s tensor is written, reading it gives the same elements',
    (datatype) => {
      const values = datatype === 'BOOL' ? [true, false, true] : datatype.startsWith('U') ? [0, 1, 200] : [0, 1, -100];
      const tensor = readTensor('x', datatype, [3], values);
      expect(JSON.parse(dataToJson(tensor))).toEqual(values);
    },
  );

  it('when a float32 tensor is written, every bit survives', () => {
    fc.assert(
      fc.property(fc.float32Array({ minLength: 1, noNaN: true, noDefaultInfinity: true }), (data) => {
        const text = dataToJson({ datatype: 'FP32', shape: [data.length], data });
        expect(readTensor('x', 'FP32', [data.length], JSON.parse(text)).data).toEqual(data.map((value) => value + 0));
      }),
    );
  });

  it.each([
    ['INT8', 128],
    ['UINT8', -1],
    ['UINT16', 65_536],
    ['INT32', 0.5],
    ['INT64', 2 ** 53],
    ['BOOL', 1],
    ['FP16', 65_520],
    ['BYTES', 1],
  ])('when an element does not fit %s, it is refused: %d', (datatype, value) => {
    expect(() => readTensor('x', datatype, [1], [value])).toThrow(expect.objectContaining({ code: 'REQUEST_INVALID' }));
  });
});
