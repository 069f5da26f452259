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
  const sockets = Array.from({ length: connections }, () => connect(Number(port), hostname).setNoDelay());
  return (index) => exchange(sockets[index], request);
}

/** Sends what was made before and reads one answer, with as little of its own as can be: the server is measured, not a client. */
function exchange(socket: Socket | undefined, request: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    let received: Buffer = Buffer.alloc(0);
    let end = Infinity;
    const onData = (chunk: Buffer): void => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      if (end === Infinity) {
        const headEnd = received.indexOf('\r\n\r\n');
        if (headEnd < 0) return;
        const head = received.toString('latin1', 0, headEnd);
        if (!head.startsWith('HTTP/1.1 200')) {
          reject(new Error(head));
          return;
        }
        end = headEnd + 4 + Number(/^content-length: (\d+)/im.exec(head)?.[1]);
      }
      if (received.length < end) return;
      if (received.length !== end) {
        reject(new Error(`there are ${received.length} bytes, and the answer has ${end}`));
        return;
      }
      socket?.off('data', onData);
      resolve();
    };
    socket?.on('data', onData);
    socket?.once('error', reject);
    socket?.write(request, () => socket.off('error', reject));
  });
}

process.once('disconnect', () => process.exit(0));
