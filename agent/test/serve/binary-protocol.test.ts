import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Datatype } from '@drover/shared/manifest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listenInference, type InferenceServer } from '../../src/serve/inline/index.js';
import { readTensor } from '../../src/serve/tensors/json.js';
import { toBytes } from '../../src/serve/tensors/tensor.js';
import { installClassifier } from './installed-classifier.js';
import { DATATYPES, inputOf, installIdentity, outputOf } from './installed-identity.js';
import { testServing } from './test-serving.js';

const ANY = '/v2/models/classifier/infer';
const directory = mkdtempSync(join(tmpdir(), 'drover-binary-'));
const identity = testServing();
const classifier = testServing();
const servers: InferenceServer[] = [];

beforeAll(async () => {
  const { signal } = new AbortController();
  await identity.activate(installIdentity(join(directory, 'identity'), DATATYPES), signal);
  await classifier.activate(await installClassifier({ directory: join(directory, 'classifier') }), signal);
  for (const models of [identity, classifier])
    servers.push(await listenInference({ host: '127.0.0.1', port: 0, models, serverVersion: '0' }));
});
afterAll(async () => {
  for (const server of servers) await server.close();
  await identity.close();
  await classifier.close();
  rmSync(directory, { recursive: true });
});

interface Answer {
  readonly status: number;
  readonly json: { readonly outputs: readonly Output[]; readonly error?: string };
  readonly tail: Buffer;
}
interface Output {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly data?: unknown;
  readonly parameters?: { readonly binary_data_size: number };
}

/** Over plain node:http: `fetch` sets headers of its own. */
function post(server: InferenceServer | undefined, body: Uint8Array, headers: Record<string, string | number>) {
  return new Promise<Answer>((resolve, reject) => {
    const sent = request({ port: server?.port, path: ANY, method: 'POST', headers }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () => {
        const bytes = Buffer.concat(parts);
        const length = Number(response.headers['inference-header-content-length'] ?? bytes.length);
        const json = JSON.parse(bytes.subarray(0, length).toString()) as Answer['json'];
        resolve({ status: response.statusCode ?? 0, json, tail: bytes.subarray(length) });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
const withTail = (server: InferenceServer | undefined, json: object, ...tail: Uint8Array[]): Promise<Answer> => {
  const head = Buffer.from(JSON.stringify(json));
  return post(server, Buffer.concat([head, ...tail]), { 'inference-header-content-length': head.length });
};

const valuesOf = (datatype: Datatype): unknown[] => {
  if (datatype === 'BOOL') return [true, false];
  if (datatype === 'BYTES') return ['', 'grün 🐑'];
  return datatype.startsWith('U') ? [0, 250] : datatype.startsWith('INT') ? [-100, 7] : [-0.25, 1.5];
};
const tensors = DATATYPES.map((datatype) => {
  const tensor = readTensor('x', datatype, [1, 2], valuesOf(datatype));
  return { datatype, bytes: toBytes(tensor), data: valuesOf(datatype) };
});

describe('tensors as bytes behind the JSON', () => {
  const binaryInputs = tensors.map(({ datatype, bytes }) => ({
    name: inputOf(datatype),
    datatype,
    shape: [1, 2],
    parameters: { binary_data_size: bytes.length },
  }));
  const tail = tensors.map(({ bytes }) => bytes);

  it('when every datatype comes and goes as bytes, each is what it was, in the order of the outputs', async () => {
    const outputs = tensors.map(({ datatype }) => ({ name: outputOf(datatype), parameters: { binary_data: true } }));
    const answer = await withTail(servers[0], { inputs: binaryInputs, outputs: outputs.reverse() }, ...tail);
    expect(answer.status).toBe(200);
    let offset = 0;
    for (const [index, { bytes, datatype }] of [...tensors].reverse().entries()) {
      const output = answer.json.outputs[index];
      expect(output).toMatchObject({ name: outputOf(datatype), datatype, shape: [1, 2] });
      expect(output?.data).toBeUndefined();
      const size = output?.parameters?.binary_data_size ?? 0;
      expect(answer.tail.subarray(offset, offset + size)).toEqual(Buffer.from(bytes));
      offset += size;
    }
    expect(offset).toBe(answer.tail.length);
  });

  it('when every datatype comes as bytes and goes as JSON, and the other way round, each is what it was', async () => {
    const toJson = await withTail(servers[0], { inputs: binaryInputs }, ...tail);
    expect(toJson.json.outputs.map(({ data }) => data)).toEqual(tensors.map(({ data }) => data));
    const inputs = tensors.map(({ datatype, data }) => ({ name: inputOf(datatype), datatype, shape: [1, 2], data }));
    const toBinary = await post(
      servers[0],
      Buffer.from(JSON.stringify({ inputs, parameters: { binary_data_output: true } })),
      {},
    );
    expect(toBinary.tail).toEqual(Buffer.concat(tail));
  });

  it('when an output says otherwise than the request, the output is right', async () => {
    const outputs = [{ name: outputOf('INT8'), parameters: { binary_data: false } }, { name: outputOf('FP32') }];
    const body = { inputs: binaryInputs, outputs, parameters: { binary_data_output: true } };
    const { json, tail: bytes } = await withTail(servers[0], body, ...tail);
    expect(json.outputs).toMatchObject([{ data: [-100, 7] }, { parameters: { binary_data_size: 8 } }]);
    expect(bytes.length).toBe(8);
  });

  it('when there is no JSON at all, the shape follows from the bytes and the outputs are bytes', async () => {
    const bytes = Buffer.from(Float32Array.of(1, 2, 3, 4).buffer);
    const raw = await post(servers[1], bytes, { 'inference-header-content-length': 0 });
    expect(raw.json.outputs).toMatchObject([
      { name: 'logits', shape: [1, 3], parameters: { binary_data_size: 12 } },
      { name: 'probabilities', shape: [1, 3], parameters: { binary_data_size: 12 } },
    ]);
    expect(raw.tail.length).toBe(24);
    expect((await post(servers[1], bytes.subarray(1), { 'inference-header-content-length': 0 })).status).toBe(400);
    expect((await post(servers[0], bytes, { 'inference-header-content-length': 0 })).status).toBe(400);
  });

  const features = (parameters: object, more: object = {}) => ({
    inputs: [{ name: 'features', datatype: 'FP32', shape: [1, 4], parameters, ...more }],
  });
  it.each([
    ['too few bytes', features({ binary_data_size: 16 }), 15],
    ['too many bytes', features({ binary_data_size: 16 }), 17],
    ['a size that is not that of the shape', features({ binary_data_size: 12 }), 12],
    ['data and bytes', features({ binary_data_size: 16 }, { data: [1, 2, 3, 4] }), 16],
    ['a negative size', features({ binary_data_size: -16 }), 16],
    ['neither data nor bytes', features({}), 0],
    ['an unknown datatype', features({ binary_data_size: 16 }, { datatype: 'FP8' }), 16],
  ])('when there are %s, the answer is 400 with a reason', async (_, json, bytes) => {
    const answer = await withTail(servers[1], json, Buffer.alloc(bytes));
    expect([answer.status, typeof answer.json.error]).toEqual([400, 'string']);
  });

  it.each(['x', '-1', '1e3', '999999'])(
    'when the header says that the JSON has %s bytes, it is 400',
    async (length) => {
      const answer = await post(servers[1], Buffer.from('{}'), { 'inference-header-content-length': length });
      expect(answer.status).toBe(400);
    },
  );
});
