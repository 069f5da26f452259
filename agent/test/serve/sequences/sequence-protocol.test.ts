import { Agent, request } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code, ConnectError, createClient, type Client } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createInferenceClient } from '../../../src/client/index.js';
import { systemClock } from '../../../src/host/clock.js';
import { ProcessServing } from '../../../src/serve/index.js';
import { listenInference, type InferenceServer, type InlineServing } from '../../../src/serve/inline/index.js';
import { GRPCInferenceService } from '../../../src/serve/protocol/grpc/generated/inference_pb.js';
import { memoryRecorder } from '../memory-recorder.js';
import { testServing } from '../test-serving.js';
import { installRecurrent, WIDTH, type Recurrent } from './installed-recurrent.js';

const { signal } = new AbortController();
const directory = mkdtempSync(join(tmpdir(), 'drover-sequence-protocol-'));
const ROW = [1, 1, 1];
let recurrent: Recurrent;
let second: Recurrent;

beforeAll(async () => {
  const limits = { maxSequences: 2 };
  recurrent = await installRecurrent({ directory: join(directory, 'first'), limits });
  second = await installRecurrent({ directory: join(directory, 'second'), seed: 5, version: '2.0.0', limits });
});
afterAll(async () => {
  await recurrent.close();
  await second.close();
  rmSync(directory, { recursive: true });
});

const restInfer = async (port: number, parameters: object, change: object = {}) => {
  const inputs = [{ name: 'x', datatype: 'FP32', shape: [1, WIDTH], data: ROW }];
  const response = await fetch(`http://127.0.0.1:${port}/v2/models/recurrent/infer`, {
    method: 'POST',
    body: JSON.stringify({ inputs, parameters, ...change }),
  });
  const { outputs, code } = (await response.json()) as {
    outputs?: { name: string; data: unknown[] }[];
    code?: string;
  };
  const steps = outputs?.find(({ name }) => name === 'steps')?.data[0];
  return { status: response.status, names: outputs?.map(({ name }) => name), steps, code, headers: response.headers };
};

describe('sequences over the protocol', () => {
  let serving: InlineServing;
  let server: InferenceServer;
  let grpc: Client<typeof GRPCInferenceService>;
  beforeEach(async () => {
    serving = testServing();
    await serving.activate(recurrent.installed, signal);
    server = await listenInference({ host: '127.0.0.1', port: 0, models: serving, serverVersion: '0.1.0' });
    grpc = createClient(GRPCInferenceService, createGrpcTransport({ baseUrl: `http://127.0.0.1:${server.port}` }));
  });
  afterEach(async () => {
    await server.close();
    await serving.close();
  });

  const rest = (parameters: object, change: object = {}) => restInfer(server.port, parameters, change);
  const grpcInfer = async (id: number | string, { start = false, end = false } = {}) => {
    const isTrue = { parameterChoice: { case: 'boolParam' as const, value: true } };
    const { outputs } = await grpc.modelInfer({
      modelName: 'recurrent',
      inputs: [{ name: 'x', datatype: 'FP32', shape: [1n, BigInt(WIDTH)], contents: { fp32Contents: ROW } }],
      parameters: {
        sequence_id: {
          parameterChoice:
            typeof id === 'number' ? { case: 'int64Param', value: BigInt(id) } : { case: 'stringParam', value: id },
        },
        ...(start && { sequence_start: isTrue }),
        ...(end && { sequence_end: isTrue }),
      },
    });
    return Number(outputs.find(({ name }) => name === 'steps')?.contents?.int64Contents[0]);
  };
  const grpcRefusal = async (call: Promise<unknown>) => {
    const error: unknown = await call.catch((reason: unknown) => reason);
    if (error instanceof ConnectError) return [error.code, error.metadata.get('drover-code')];
    throw new Error('The call did not fail.', { cause: error });
  };

  it.each([7, 'a stream'])('when the sequence %j begins in one form, it goes on in the other', async (id) => {
    expect(await rest({ sequence_id: id, sequence_start: true })).toMatchObject({ status: 200, steps: 1 });
    expect(await grpcInfer(id)).toBe(2);
    const client = createInferenceClient({ url: `http://127.0.0.1:${server.port}` });
    const x = { datatype: 'FP32' as const, shape: [1, WIDTH], data: Float32Array.from(ROW) };
    const { outputs } = await client.infer('recurrent', { x }, { sequence: { id } });
    expect(outputs['steps']?.data).toEqual(BigInt64Array.of(3n));
    client.close();
    expect(await grpcInfer(id, { end: true })).toBe(4);
    expect(await rest({ sequence_id: id })).toMatchObject({ status: 400, code: 'SEQUENCE_UNKNOWN' });
  }); // prettier-ignore

  it('when it is asked about the model, nothing is said of its states, and they can be neither sent nor asked for', async () => {
    const document = await (await fetch(`http://127.0.0.1:${server.port}/v2/models/recurrent`)).json();
    expect(document).toMatchObject({ inputs: [{ name: 'x' }], outputs: [{ name: 'y' }, { name: 'steps' }] });
    const start = { sequence_id: 1, sequence_start: true };
    expect(await rest(start)).toMatchObject({ names: ['y', 'steps'] });
    expect(await rest(start, { outputs: [{ name: 'h_out' }] })).toMatchObject({ status: 400, code: 'REQUEST_INVALID' });
    const inputs = [
      { name: 'x', datatype: 'FP32', shape: [1, WIDTH], data: ROW },
      { name: 'h_in', datatype: 'FP32', shape: [1, 4], data: [0, 0, 0, 0] },
    ];
    expect(await rest(start, { inputs })).toMatchObject({ status: 400, code: 'REQUEST_INVALID' });
  });

  it.each([{}, { sequence_id: 0, sequence_start: true }, { sequence_id: '' }, { sequence_id: -1 }, { sequence_id: 2 ** 60 }])(
    'when no sequence is named by the parameters %j, the request is refused',
    async (parameters) => expect(await rest(parameters)).toMatchObject({ status: 400, code: 'REQUEST_INVALID' }),
  ); // prettier-ignore

  it('when a sequence is not there, lost, or one too many, both forms say so', async () => {
    expect(await rest({ sequence_id: 1 })).toMatchObject({ status: 400, code: 'SEQUENCE_UNKNOWN' });
    expect(await grpcRefusal(grpcInfer(1))).toEqual([Code.InvalidArgument, 'SEQUENCE_UNKNOWN']);
    await Promise.all([grpcInfer(1, { start: true }), grpcInfer(2, { start: true })]);
    const third = await rest({ sequence_id: 3, sequence_start: true });
    expect([third.status, third.code, third.headers.get('retry-after')]).toEqual([503, 'SEQUENCE_LIMIT', '1']);
    expect(await grpcRefusal(grpcInfer(3, { start: true }))).toEqual([Code.ResourceExhausted, 'SEQUENCE_LIMIT']);
    await serving.activate(second.installed, signal);
    expect(await rest({ sequence_id: 1 })).toMatchObject({ status: 410, code: 'SEQUENCE_LOST' });
    expect(await grpcRefusal(grpcInfer(2))).toEqual([Code.Aborted, 'SEQUENCE_LOST']);
    expect(await rest({ sequence_id: 1, sequence_start: true })).toMatchObject({ status: 200, steps: 1 });
  });
});

describe('sequences in a process of their own', () => {
  let serving: ProcessServing;
  beforeEach(async () => {
    serving = await ProcessServing.open({
      host: '127.0.0.1',
      port: 0,
      providers: ['cpu'],
      hardwareClass: 'generic',
      serverVersion: '0.1.0',
      clock: systemClock,
      recorder: memoryRecorder(),
      onIncident: () => undefined,
    });
    await serving.activate(recurrent.installed, signal);
  });
  afterEach(() => serving.close());
  const infer = (parameters: object) => restInfer(serving.address.port, parameters);
  const start = { sequence_id: 1, sequence_start: true };
  const next = { sequence_id: 1 };

  it('when the process is killed, they are lost, and can be started again', async () => {
    expect(await infer(next)).toMatchObject({ status: 400, code: 'SEQUENCE_UNKNOWN' });
    expect(await infer(start)).toMatchObject({ status: 200, steps: 1 });
    expect(await infer(next)).toMatchObject({ status: 200, steps: 2 });
    const { pid } = serving;
    if (pid === undefined) throw new Error('the inference process has no pid');
    process.kill(pid, 'SIGKILL');
    let answer;
    // The connection that it had breaks; a new one waits for the next process.
    while (!answer) answer = await infer(next).catch(() => undefined);
    expect(answer).toMatchObject({ status: 410, code: 'SEQUENCE_LOST' });
    expect(await infer(start)).toMatchObject({ status: 200, steps: 1 });
  }, 30_000);

  it('when another process relieves it, they are lost on old connections as on new ones, and the same ones go on whatever the connection', async () => {
    const agents = [1, 2].map(() => new Agent({ keepAlive: true, maxSockets: 1 }));
    const overOld = (agent: Agent | undefined, parameters: object) =>
      new Promise<{ status: number | undefined; code: unknown }>((resolve, reject) => {
        const body = JSON.stringify({ inputs: [{ name: 'x', datatype: 'FP32', shape: [1, WIDTH], data: ROW }], parameters }); // prettier-ignore
        const { port } = serving.address;
        const asked = request({ agent, port, host: '127.0.0.1', method: 'POST', path: '/v2/models/recurrent/infer' });
        asked.on('response', (response) => {
          let text = '';
          response.on('data', (bytes: Buffer) => (text += bytes.toString()));
          response.on('end', () => resolve({ status: response.statusCode, code: (JSON.parse(text) as { code?: string }).code })); // prettier-ignore
        });
        asked.on('error', reject).end(body);
      });
    const [one, other] = agents;
    for (const agent of agents) expect(await overOld(agent, start)).toMatchObject({ status: 200 });
    const { pid } = serving;
    await serving.recycle();
    expect(serving.pid).not.toBe(pid);
    expect(await overOld(one, next)).toMatchObject({ status: 410, code: 'SEQUENCE_LOST' });
    expect(await overOld(other, start)).toMatchObject({ status: 200 });
    expect(await infer(next)).toMatchObject({ status: 200, steps: 2 });
    for (const agent of agents) agent.destroy();
  }, 30_000);
});
