import { connect, type Socket } from 'node:net';
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
  const { hostname, port } = new URL(url);
  const path = form === 'naive' ? '/infer' : `/v2/models/${model}/infer`;
  const request = Buffer.concat([
    Buffer.from(
      [
        `POST ${path} HTTP/1.1`,
        `Host: ${hostname}`,
        `Content-Type: ${form === 'binary' ? 'application/octet-stream' : 'application/json'}`,
        `Content-Length: ${body.length}`,
        ...(form === 'binary' ? [`Inference-Header-Content-Length: ${Buffer.byteLength(head)}`] : []),
        '',
        '',
      ].join('\r\n'),
    ),
    body,
  ]);
  const exchanges = Array.from({ length: connections }, () =>
    exchanger(connect(Number(port), hostname).setNoDelay(), request),
  );
  return async (index) => exchanges[index]?.();
}

/** Sends what was made before and reads one answer at a time, with as little of its own as can be: the server is measured, not a client. */
function exchanger(socket: Socket, request: Buffer): () => Promise<void> {
  let settle: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;
  let received: Buffer = Buffer.alloc(0);
  let end = Infinity;
  socket.on('error', (error) => settle?.reject(error));
  socket.on('data', (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    if (end === Infinity) {
      const headEnd = received.indexOf('\r\n\r\n');
      if (headEnd < 0) return;
      const head = received.toString('latin1', 0, headEnd);
      if (!head.startsWith('HTTP/1.1 200')) {
        settle?.reject(new Error(head));
        return;
      }
      end = headEnd + 4 + Number(/^content-length: (\d+)/im.exec(head)?.[1]);
    }
    if (received.length < end) return;
    if (received.length !== end) {
      settle?.reject(new Error(`there are ${received.length} bytes, and the answer has ${end}`));
      return;
    }
    received = Buffer.alloc(0);
    end = Infinity;
    settle?.resolve();
  });
  return () =>
    new Promise((resolve, reject) => {
      settle = { resolve, reject };
      socket.write(request);
    });
}

process.once('disconnect', () => process.exit(0));
