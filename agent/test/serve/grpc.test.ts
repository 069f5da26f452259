import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { Datatype } from '@drover/shared/manifest';
import { Code, ConnectError, createClient, type Client } from '@connectrpc/connect';
import { compressionGzip, createGrpcTransport } from '@connectrpc/connect-node';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ServeError } from '../../src/serve/errors.js';
import { listenInference, type InferenceServer, type ServedModels } from '../../src/serve/inline/index.js';
import {
  GRPCInferenceService,
  ModelInferRequestSchema,
  type InferTensorContentsSchema,
  type ModelInferRequest,
} from '../../src/serve/protocol/grpc/generated/inference_pb.js';
import type { ClientSignal } from '../../src/serve/scheduling/run-queue.js';
import { readTensor } from '../../src/serve/tensors/json.js';
import { toBytes } from '../../src/serve/tensors/tensor.js';
import { installClassifier } from './installed-classifier.js';
import { DATATYPES, inputOf, installIdentity, outputOf } from './installed-identity.js';
import { testServing } from './test-serving.js';

const MAX_BODY_BYTES = 100_000;
const directory = mkdtempSync(join(tmpdir(), 'drover-grpc-'));
const socket = join(directory, 'inference.sock');
const serving = testServing();
const identity = testServing();
let server: InferenceServer;
let identityServer: InferenceServer;
let client: Client<typeof GRPCInferenceService>;
let identityClient: Client<typeof GRPCInferenceService>;

/** All lists of elements, bytes as text, so that they compare whatever holds them. */
const elements = (contents: object | undefined): unknown[] =>
  Object.values(contents ?? {})
    .filter(Array.isArray)
    .map((list: unknown[]) => list.map((each) => (each instanceof Uint8Array ? Buffer.from(each).toString() : each)));

const clientOf = (port: number) =>
  createClient(GRPCInferenceService, createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` }));

beforeAll(async () => {
  const { signal } = new AbortController();
  await serving.activate(await installClassifier({ directory: join(directory, 'classifier') }), signal);
  await identity.activate(installIdentity(join(directory, 'identity'), DATATYPES), signal);
  const options = { host: '127.0.0.1', port: 0, serverVersion: '0.1.0', maxBodyBytes: MAX_BODY_BYTES };
  server = await listenInference({ ...options, models: serving, socket });
  identityServer = await listenInference({ ...options, models: identity });
  client = clientOf(server.port);
  identityClient = clientOf(identityServer.port);
});
afterAll(async () => {
  await server.close();
  await identityServer.close();
  await serving.close();
  await identity.close();
  rmSync(directory, { recursive: true });
});

const features = (change: object = {}): ModelInferRequest =>
  create(ModelInferRequestSchema, {
    modelName: 'classifier',
    id: 'a',
    inputs: [{ name: 'features', datatype: 'FP32', shape: [1n, 4n], contents: { fp32Contents: [1, 2, 3, 4] } }],
    ...change,
  });
const failure = async (call: Promise<unknown>): Promise<ConnectError> => {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof ConnectError) return error;
  throw new Error('The call did not fail.', { cause: error });
};

describe('the protocol over gRPC', () => {
  it('when asked about itself and its models, it says the same as over REST', async () => {
    expect(await client.serverLive({})).toMatchObject({ live: true });
    expect(await client.serverReady({})).toMatchObject({ ready: true });
    expect(await client.serverMetadata({})).toMatchObject({ name: 'drover', version: '0.1.0' });
    expect(await client.modelReady({ name: 'classifier', version: '1.0.0' })).toMatchObject({ ready: true });
    expect(await client.modelReady({ name: 'classifier', version: '9.0.0' })).toMatchObject({ ready: false });
    expect(await client.modelMetadata({ name: 'classifier' })).toMatchObject({
      versions: ['1.0.0'],
      platform: 'onnx_onnxv1',
      inputs: [{ name: 'features', datatype: 'FP32', shape: [-1n, 4n] }],
      properties: { task: 'classification', variant: 'any', precision: 'fp32' },
    });
    expect((await client.repositoryIndex({})).models).toMatchObject([
      { name: 'classifier', version: '1.0.0', state: 'READY' },
    ]);
  });

  it('when the same is asked over REST, on the same port, the answer is the same', async () => {
    const grpc = await client.modelInfer(features());
    const rest = await fetch(`http://127.0.0.1:${server.port}/v2/models/classifier/infer`, {
      method: 'POST',
      body: JSON.stringify({
        id: 'a',
        inputs: [{ name: 'features', datatype: 'FP32', shape: [1, 4], data: [1, 2, 3, 4] }],
      }),
    });
    const { outputs } = (await rest.json()) as { outputs: { data: number[] }[] };
    expect(grpc).toMatchObject({ modelName: 'classifier', modelVersion: '1.0.0', id: 'a' });
    expect(grpc.outputs.map(({ contents }) => contents?.fp32Contents)).toEqual(outputs.map(({ data }) => data));
  });

  const valuesOf = (datatype: Datatype): unknown[] => {
    if (datatype === 'BOOL') return [true, false];
    if (datatype === 'BYTES') return ['', 'grün 🐑'];
    return datatype.startsWith('U') ? [0, 250] : [-100, 7];
  };
  const identityInputs = (datatypes: readonly Datatype[]) =>
    datatypes.map((datatype) => ({ name: inputOf(datatype), datatype, shape: [1n, 2n] }));

  it('when every datatype comes raw, it goes raw, and each is what it was', async () => {
    const bytes = DATATYPES.map((datatype) => toBytes(readTensor('x', datatype, [1, 2], valuesOf(datatype))));
    const answer = await identityClient.modelInfer({
      modelName: 'classifier',
      inputs: identityInputs(DATATYPES),
      rawInputContents: bytes,
    });
    expect(answer.outputs.map(({ name, contents }) => [name, contents])).toEqual(
      DATATYPES.map((datatype) => [outputOf(datatype), undefined]),
    );
    expect(answer.rawOutputContents.map((each) => Buffer.from(each))).toEqual(bytes.map((each) => Buffer.from(each)));
  });

  it('when every datatype but FP16 comes element by element, it goes the same way, and each is what it was', async () => {
    // An output of FP16 would make the whole answer raw.
    const contents: Readonly<Record<Exclude<Datatype, 'FP16'>, MessageInitShape<typeof InferTensorContentsSchema>>> = {
      BOOL: { boolContents: [true, false] },
      UINT8: { uintContents: [0, 250] },
      UINT16: { uintContents: [0, 65_535] },
      UINT32: { uintContents: [0, 2 ** 32 - 1] },
      UINT64: { uint64Contents: [0n, 2n ** 64n - 1n] },
      INT8: { intContents: [-128, 127] },
      INT16: { intContents: [-(2 ** 15), 2 ** 15 - 1] },
      INT32: { intContents: [-(2 ** 31), 2 ** 31 - 1] },
      INT64: { int64Contents: [-(2n ** 63n), 2n ** 63n - 1n] },
      FP32: { fp32Contents: [-0.25, 1.5] },
      FP64: { fp64Contents: [-0.1, 1e300] },
      BYTES: { bytesContents: [Buffer.from(''), Buffer.from('grün 🐑')] },
    };
    const datatypes = Object.keys(contents) as (keyof typeof contents)[];
    const typed = testServing();
    await typed.activate(installIdentity(join(directory, 'typed'), datatypes), new AbortController().signal);
    const own = await listenInference({ host: '127.0.0.1', port: 0, serverVersion: '0', models: typed });
    const request = create(ModelInferRequestSchema, {
      modelName: 'classifier',
      inputs: identityInputs(datatypes).map((input, index) => {
        const datatype = datatypes[index];
        return { ...input, ...(datatype && { contents: contents[datatype] }) };
      }),
    });
    const { outputs, rawOutputContents } = await clientOf(own.port).modelInfer(request);
    await own.close();
    await typed.close();
    expect(rawOutputContents).toEqual([]);
    expect(outputs.map(({ name }) => name)).toEqual(datatypes.map(outputOf));
    for (const [index, output] of outputs.entries())
      expect(elements(output.contents)).toEqual(elements(request.inputs[index]?.contents));
  });

  it.each([
    [Code.NotFound, 'MODEL_NOT_SERVED', features({ modelName: 'other' })],
    [Code.NotFound, 'MODEL_NOT_SERVED', features({ modelVersion: '9.9.9' })],
    [Code.InvalidArgument, 'REQUEST_INVALID', features({ inputs: [] })],
    [Code.InvalidArgument, 'REQUEST_INVALID', features({ rawInputContents: [new Uint8Array(15)] })],
    [Code.InvalidArgument, 'REQUEST_INVALID', features({ rawInputContents: [new Uint8Array(16), new Uint8Array(1)] })],
    [Code.InvalidArgument, 'REQUEST_INVALID', features({ outputs: [{ name: 'nothing' }] })],
    [
      Code.InvalidArgument,
      'REQUEST_INVALID',
      features({ inputs: [{ name: 'features', datatype: 'FP32', shape: [-1n, 4n] }] }),
    ],
    [
      Code.InvalidArgument,
      'REQUEST_INVALID',
      features({ inputs: [{ name: 'features', datatype: 'FP16', shape: [1n, 4n] }] }),
    ],
    [Code.InvalidArgument, 'REQUEST_INVALID', features({ inputs: [{ name: 'features', datatype: 'INT8', shape: [1n], contents: { intContents: [128] } }] })], // prettier-ignore
  ])('when a request is wrong, the status is %d with the code %s', async (status, code, wrong) => {
    const error = await failure(client.modelInfer(wrong));
    expect([error.code, error.metadata.get('drover-code')]).toEqual([status, code]);
    expect(error.rawMessage).toMatch(/\w{3}/);
  });

  it('when a message is larger than the bound, it is refused, and the connection serves on', async () => {
    const large = features({ rawInputContents: [new Uint8Array(MAX_BODY_BYTES + 1)] });
    expect((await failure(client.modelInfer(large))).code).toBe(Code.ResourceExhausted);
    expect(await client.modelInfer(features())).toMatchObject({ id: 'a' });
  });

  it('when a message is larger than the bound once it is decompressed, it is refused, and a smaller one is read', async () => {
    const compressing = createClient(
      GRPCInferenceService,
      createGrpcTransport({
        baseUrl: `http://127.0.0.1:${server.port}`,
        sendCompression: compressionGzip,
        compressMinBytes: 0,
      }),
    );
    const large = features({ rawInputContents: [new Uint8Array(100 * MAX_BODY_BYTES)] });
    expect((await failure(compressing.modelInfer(large))).code).toBe(Code.ResourceExhausted);
    expect(await compressing.modelInfer(features())).toMatchObject({ id: 'a' });
  });

  it('when a client begins HTTP/2 and sends what is none, only its connection ends', async () => {
    const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    for (const garbage of [
      Buffer.alloc(4096, 0xff),
      Buffer.alloc(4096),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'.repeat(99)),
    ]) {
      await new Promise((resolve) => {
        const hostile = connect(server.port, '127.0.0.1', () => hostile.end(Buffer.concat([preface, garbage])));
        hostile
          .on('error', () => undefined)
          .on('close', resolve)
          .resume();
      });
    }
    expect(await client.modelInfer(features())).toMatchObject({ id: 'a' });
  });

  it('when requests stream, each is answered in its order, and a wrong one does not end the stream', async () => {
    async function* requests() {
      yield features({ id: '1' });
      await Promise.resolve();
      yield features({ id: '2', outputs: [{ name: 'nothing' }] });
      yield features({ id: '3' });
    }
    const answers = [];
    for await (const answer of client.modelStreamInfer(requests())) answers.push(answer);
    expect(answers.map(({ inferResponse }) => inferResponse?.id)).toEqual(['1', '2', '3']);
    expect(answers.map(({ errorMessage }) => errorMessage !== '')).toEqual([false, true, false]);
  });

  it.each([1, 2, 20, 200])(
    'when %i requests of a stream are sent at once, each is answered, in order',
    async (count) => {
      const ids = Array.from({ length: count }, (_, index) => String(index));
      const requests = Readable.from(ids.map((id) => features({ id })));
      const answered: (string | undefined)[] = [];
      for await (const { inferResponse } of client.modelStreamInfer(requests as AsyncIterable<ModelInferRequest>))
        answered.push(inferResponse?.id);
      expect(answered).toEqual(ids);
    },
  );
});

describe('one port and one socket for both forms', () => {
  it('when a client speaks to the Unix socket, it is served', async () => {
    const overSocket = createClient(
      GRPCInferenceService,
      createGrpcTransport({ baseUrl: 'http://localhost', nodeOptions: { createConnection: () => connect(socket) } }),
    );
    expect(await overSocket.modelInfer(features())).toMatchObject({ id: 'a' });
    const status = await new Promise((resolve, reject) => {
      request({ socketPath: socket, path: '/v2/health/live' }, ({ statusCode }) => resolve(statusCode)).on('error', reject).end(); // prettier-ignore
    });
    expect(status).toBe(200);
  });

  it('when the first bytes come one by one, they are understood all the same', async () => {
    const answer = await new Promise<string>((resolve, reject) => {
      let text = '';
      const slow = connect(server.port, '127.0.0.1');
      slow.setNoDelay().on('data', (bytes) => (text += bytes.toString())).on('close', () => resolve(text)).on('error', reject); // prettier-ignore
      const bytes = [...'PROPFIND / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'];
      const next = (): void => {
        const byte = bytes.shift();
        if (byte === undefined) return;
        slow.write(byte);
        setTimeout(next, 2);
      };
      slow.on('connect', next);
    });
    expect(answer).toMatch(/^HTTP\/1\.1 404/);
  });

  it('when a client says nothing, closing does not wait for it', async () => {
    const own = await listenInference({ host: '127.0.0.1', port: 0, models: serving, serverVersion: '0' });
    const silent = connect(own.port, '127.0.0.1');
    await new Promise((resolve) => silent.once('connect', resolve));
    const gone = new Promise((resolve) => silent.once('close', resolve));
    silent.on('error', () => undefined).resume();
    const startedMs = performance.now();
    await own.close();
    await gone;
    // Left alone it would have been waited for ten seconds.
    expect(performance.now() - startedMs).toBeLessThan(5_000);
  });

  it('when the path of the socket is somebody else’s file, it is left alone', async () => {
    const file = join(directory, 'precious');
    writeFileSync(file, 'mine');
    const options = { host: '127.0.0.1', port: 0, models: serving, serverVersion: '0', socket: file };
    await expect(listenInference(options)).rejects.toMatchObject({ where: file });
    expect(readFileSync(file, 'utf8')).toBe('mine');
  });

  it('when a socket was left behind by one that was killed, it is taken over', async () => {
    const left = join(directory, 'left.sock');
    const script = `require('net').createServer().listen(${JSON.stringify(left)}, () => process.kill(process.pid, 'SIGKILL'))`;
    expect(spawnSync(process.execPath, ['-e', script]).signal).toBe('SIGKILL');
    expect(existsSync(left)).toBe(true);
    const options = { host: '127.0.0.1', port: 0, models: serving, serverVersion: '0', socket: left };
    await (await listenInference(options)).close();
  });

  it('when a client connects and leaves without a word, nothing stays behind', async () => {
    await new Promise<void>((resolve) => {
      const silent = connect(server.port, '127.0.0.1', () => silent.end());
      silent.on('close', () => resolve()).resume();
    });
    expect(await client.serverLive({})).toMatchObject({ live: true });
  });
});

describe('schedules', () => {
  const slowInfer = () => {
    const asked: { readonly priority?: number | undefined; readonly signal?: ClientSignal | undefined }[] = [];
    const models: ServedModels = {
      served: () => serving.served(),
      find: (model, version) => serving.find(model, version),
      feedback: () => Promise.reject(new Error('stopped')),
      labelRequests: () => Promise.resolve([]),
      answerLabel: () => Promise.reject(new Error('stopped')),
      parameters: (model) => serving.parameters(model),
      rejectParameters: () => undefined,
      infer: (request) => {
        asked.push(request);
        return new Promise((_, reject) => {
          request.signal?.addEventListener('abort', () => reject(new Error('gone')));
          const { deadlineMs = Infinity } = request;
          if (deadlineMs < Infinity) setTimeout(() => reject(expired), deadlineMs - performance.now());
        });
      },
    };
    return { asked, models };
  };
  const expired = new ServeError('REQUEST_EXPIRED', 'The time is over.', { remedy: 'Give more.' });
  const until = async (isTrue: () => boolean): Promise<void> => {
    while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  const body = JSON.stringify({
    inputs: [{ name: 'features', datatype: 'FP32', shape: [1, 4], data: [1, 2, 3, 4] }],
    parameters: { priority: 2, timeout: 20_000 },
  });

  it('when a request names a priority and a time, both forms hand them on, and its end is said', async () => {
    const { asked, models } = slowInfer();
    const own = await listenInference({ host: '127.0.0.1', port: 0, models, serverVersion: '0' });
    const rest = await fetch(`http://127.0.0.1:${own.port}/v2/models/classifier/infer`, { method: 'POST', body });
    expect([rest.status, await rest.json()]).toMatchObject([503, { code: 'REQUEST_EXPIRED' }]);
    const parameters = {
      priority: { parameterChoice: { case: 'int64Param' as const, value: 3n } },
      timeout: { parameterChoice: { case: 'int64Param' as const, value: 20_000n } },
    };
    const error = await failure(clientOf(own.port).modelInfer(features({ parameters })));
    expect([error.code, error.metadata.get('drover-code')]).toEqual([Code.DeadlineExceeded, 'REQUEST_EXPIRED']);
    expect(asked.map(({ priority }) => priority)).toEqual([2, 3]);
    await own.close();
  });

  it('when the client goes away, whoever runs the model hears of it', async () => {
    const { asked, models } = slowInfer();
    const own = await listenInference({ host: '127.0.0.1', port: 0, models, serverVersion: '0' });
    const leaving = new AbortController();
    const { signal } = leaving;
    const quiet = body.replace('20000', '0');
    const rest = fetch(`http://127.0.0.1:${own.port}/v2/models/classifier/infer`, {
      method: 'POST',
      body: quiet,
      signal,
    });
    const grpc = clientOf(own.port).modelInfer(features(), { signal });
    const both = Promise.allSettled([rest, grpc]);
    await until(() => asked.length === 2);
    leaving.abort();
    await both;
    await until(() => asked.every((each) => each.signal?.aborted));
    await own.close();
  });
});
