import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/host/clock.js';
import { ProcessServing } from '../../src/serve/index.js';
import { GRPCInferenceService } from '../../src/serve/protocol/grpc/generated/inference_pb.js';
import { install } from './installed-classifier.js';
import { memoryRecorder } from './memory-recorder.js';

const data = join(
  process.env['DROVER_DATA_DIR'] ?? new URL('../../../../shared/data', import.meta.url).pathname,
  'mnist',
);
const PIXELS = 28 * 28;
const CONCURRENT = 8;
/** What the runtime itself scores on these pixels (../shared/data/README.md). */
const CORRECT = 9_891;
const TOLERANCE = 2;

describe.skipIf(!existsSync(data))('MNIST through the agent (set DROVER_DATA_DIR; skipped where absent)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-mnist-'));
  let serving: ProcessServing;
  let images: Float32Array;
  let labels: Uint8Array;

  beforeAll(async () => {
    const file = (part: string) => gunzipSync(readFileSync(join(data, part)));
    // IDX: a header of 16 bytes before the pixels, of 8 before the labels.
    images = Float32Array.from(file('t10k-images-idx3-ubyte.gz').subarray(16));
    labels = file('t10k-labels-idx1-ubyte.gz').subarray(8);
    serving = await ProcessServing.open({
      host: '127.0.0.1',
      port: 0,
      providers: ['cpu'],
      hardwareClass: 'generic',
      serverVersion: '0',
      clock: systemClock,
      recorder: memoryRecorder(),
      onIncident: (error) => {
        throw error;
      },
    });
    const tensor = (name: string, shape: number[]) => ({ name, datatype: 'FP32', shape }) as const;
    const [input, output] = [tensor('Input3', [1, 1, 28, 28]), tensor('Plus214_Output_0', [1, 10])];
    const zeros = (bytes: number) => new Uint8Array(4 * bytes);
    // Its answer to no ink at all; any will do, with a tolerance that lets all pass.
    const vector = { inputs: [{ ...input, bytes: zeros(PIXELS) }], outputs: [{ ...output, bytes: zeros(10) }] };
    const model = readFileSync(join(data, 'mnist.onnx'));
    const manifest = {
      task: { type: 'tensors' as const },
      contract: { perHardwareClass: [], parity: { absolute: 1e9, relative: 0 } },
    };
    const signature = { inputs: [input], outputs: [output] };
    await serving.activate(
      install(model, [vector], { directory: folder, manifest }, signature),
      new AbortController().signal,
    );
  });
  afterAll(async () => {
    await serving.close();
    rmSync(folder, { recursive: true });
  });

  const imageOf = (index: number): Float32Array => images.subarray(index * PIXELS, (index + 1) * PIXELS);
  const bytesOf = (values: Float32Array): Buffer => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

  /** Asks for every image, some at a time, and counts the right ones. */
  async function correct(scoresOf: (image: Float32Array) => Promise<ArrayLike<number>>): Promise<number> {
    let next = 0;
    let right = 0;
    const worker = async (): Promise<void> => {
      for (let index = next++; index < labels.length; index = next++) {
        const scores = Array.from(await scoresOf(imageOf(index)));
        if (scores.indexOf(Math.max(...scores)) === labels[index]) right += 1;
      }
    };
    await Promise.all(Array.from({ length: CONCURRENT }, worker));
    return right;
  }

  const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENT });
  const post = (body: Buffer, headers: Record<string, string | number>): Promise<{ bytes: Buffer; head: number }> =>
    new Promise((resolve, reject) => {
      const path = '/v2/models/classifier/infer';
      const sent = request({ port: serving.address.port, path, method: 'POST', agent, headers }, (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('end', () =>
          resolve({ bytes: Buffer.concat(parts), head: Number(response.headers['inference-header-content-length']) }),
        );
      });
      sent.on('error', reject);
      sent.end(body);
    });
  const input = { name: 'Input3', datatype: 'FP32', shape: [1, 1, 28, 28] };

  it('by REST, as JSON, scores what the runtime scores', async () => {
    const score = await correct(async (image) => {
      const { bytes } = await post(
        Buffer.from(JSON.stringify({ inputs: [{ ...input, data: Array.from(image) }] })),
        {},
      );
      return (JSON.parse(bytes.toString()) as { outputs: [{ data: number[] }] }).outputs[0].data;
    });
    expect(Math.abs(score - CORRECT)).toBeLessThanOrEqual(TOLERANCE);
  }, 120_000);

  it('by REST, as bytes, scores what the runtime scores', async () => {
    const parameters = { binary_data_output: true };
    const head = Buffer.from(
      JSON.stringify({ inputs: [{ ...input, parameters: { binary_data_size: 4 * PIXELS } }], parameters }),
    );
    const score = await correct(async (image) => {
      const answer = await post(Buffer.concat([head, bytesOf(image)]), {
        'inference-header-content-length': head.length,
      });
      return new Float32Array(new Uint8Array(answer.bytes.subarray(answer.head)).buffer);
    });
    expect(Math.abs(score - CORRECT)).toBeLessThanOrEqual(TOLERANCE);
  }, 120_000);

  it('by gRPC, scores what the runtime scores', async () => {
    const client = createClient(
      GRPCInferenceService,
      createGrpcTransport({ baseUrl: `http://127.0.0.1:${serving.address.port}` }),
    );
    const tensor = { ...input, shape: input.shape.map(BigInt) };
    const score = await correct(async (image) => {
      const { rawOutputContents } = await client.modelInfer({
        modelName: 'classifier',
        inputs: [tensor],
        rawInputContents: [bytesOf(image)],
      });
      return new Float32Array(new Uint8Array(rawOutputContents[0] ?? []).buffer);
    });
    expect(Math.abs(score - CORRECT)).toBeLessThanOrEqual(TOLERANCE);
  }, 120_000);
});
