import { Agent, request } from 'node:http';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { GRPCInferenceService } from '../../../agent/dist/serve/protocol/grpc/generated/inference_pb.js';
import { summary, type Load } from './children.js';
import { seededInput } from './models.js';

// A client: keep-alive, each connection one request after the other.

process.on('message', (load: Load) => {
  void run(load).then((measured) => process.send?.(measured));
});

async function run(load: Load) {
  const send = sender(load);
  const latencies: number[] = [];
  let isMeasuring = false;
  let isDone = false;
  const connection = async (index: number): Promise<void> => {
    while (!isDone) {
      const beforeMs = performance.now();
      await send(index);
      if (isMeasuring) latencies.push(performance.now() - beforeMs);
    }
  };
  const connections = Array.from({ length: load.connections }, (_, index) => connection(index));
  await new Promise((resolve) => setTimeout(resolve, load.forMs / 4));
  isMeasuring = true;
  const startedMs = performance.now();
  await new Promise((resolve) => setTimeout(resolve, load.forMs));
  isMeasuring = false;
  const elapsedMs = performance.now() - startedMs;
  isDone = true;
  await Promise.all(connections);
  return summary(latencies, elapsedMs);
}

function sender({ url, model, form, input, shape, range, seed, connections }: Load): (index: number) => Promise<void> {
  const values = seededInput(
    shape.reduce((product, axis) => product * axis, 1),
    range,
    seed,
  );
  const bytes = Buffer.from(values.buffer);
  if (form === 'grpc') {
    const clients = Array.from({ length: connections }, () =>
      createClient(GRPCInferenceService, createGrpcTransport({ baseUrl: url })),
    );
    const tensor = { name: input, datatype: 'FP32', shape: shape.map(BigInt) };
    return async (index) => {
      const answer = await clients[index]?.modelInfer({
        modelName: model,
        inputs: [tensor],
        rawInputContents: [bytes],
      });
      if (!answer?.rawOutputContents.length) throw new Error('there was no answer');
    };
  }
  const tensor = { name: input, datatype: 'FP32', shape };
  const head = JSON.stringify({
    inputs: [{ ...tensor, parameters: { binary_data_size: bytes.length } }],
    parameters: { binary_data_output: true },
  });
  const body = {
    binary: Buffer.concat([Buffer.from(head), bytes]),
    json: Buffer.from(JSON.stringify({ inputs: [{ ...tensor, data: Array.from(values) }] })),
    naive: Buffer.from(JSON.stringify({ data: Array.from(values) })),
  }[form];
  const headers = {
    'content-type': form === 'binary' ? 'application/octet-stream' : 'application/json',
    'content-length': body.length,
    ...(form === 'binary' ? { 'inference-header-content-length': Buffer.byteLength(head) } : {}),
  };
  const { hostname, port } = new URL(url);
  const path = form === 'naive' ? '/infer' : `/v2/models/${model}/infer`;
  const agents = Array.from({ length: connections }, () => new Agent({ keepAlive: true, maxSockets: 1 }));
  return (index) =>
    new Promise((resolve, reject) => {
      const sent = request(
        { hostname, port, path, method: 'POST', headers, agent: agents[index] ?? false },
        (response) => {
          if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode ?? 0}`));
          response.on('end', resolve).resume();
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });
}

process.once('disconnect', () => process.exit(0));
