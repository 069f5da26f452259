import { connect, type Socket } from 'node:net';
import { connect as connectHttp2, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import { create, toBinary } from '@bufbuild/protobuf';
import { ModelInferRequestSchema } from '../../../agent/dist/serve/protocol/grpc/generated/inference_pb.js';
import { summary, type Load } from './children.js';
import { seededInput } from './models.js';

const INFER_PATH = '/inference.GRPCInferenceService/ModelInfer';

// A client: keep-alive, each connection one request after the other.

process.on('message', (load: Load) => {
  void run(load).then((measured) => process.send?.(measured));
});

async function run(load: Load) {
  const { send, close } = sender(load);
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
  // Those of the next load are shared out among the threads of the server, and these would count.
  close();
  return summary(latencies, elapsedMs);
}

interface Sender {
  readonly send: (index: number) => Promise<void>;
  readonly close: () => void;
}

function sender({ url, model, form, input, shape, range, seed, connections }: Load): Sender {
  const values = seededInput(
    shape.reduce((product, axis) => product * axis, 1),
    range,
    seed,
  );
  const bytes = Buffer.from(values.buffer);
  if (form === 'grpc') {
    const tensor = { name: input, datatype: 'FP32', shape: shape.map(BigInt) };
    const message = toBinary(
      ModelInferRequestSchema,
      create(ModelInferRequestSchema, { modelName: model, inputs: [tensor], rawInputContents: [bytes] }),
    );
    const sessions = Array.from({ length: connections }, () => connectHttp2(url));
    const calls = sessions.map((session) => caller(session, message));
    return { send: async (index) => calls[index]?.(), close: () => sessions.forEach((session) => session.destroy()) };
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
  const exchanges = sockets.map((socket) => exchanger(socket, request));
  return { send: async (index) => exchanges[index]?.(), close: () => sockets.forEach((socket) => socket.destroy()) };
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

/** One unary call after the other: the message that was made before, with its prefix (gRPC over HTTP/2, "Length-Prefixed-Message"), and whatever comes until the status. */
function caller(session: ClientHttp2Session, message: Uint8Array): () => Promise<void> {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  const body = Buffer.concat([prefix, message]);
  const headers = { ':method': 'POST', ':path': INFER_PATH, 'content-type': 'application/grpc', te: 'trailers' };
  return () =>
    new Promise((resolve, reject) => {
      const call = session.request(headers);
      let received = 0;
      let status: unknown;
      call.on('data', (chunk: Buffer) => (received += chunk.length));
      call.on('trailers', (trailers: IncomingHttpHeaders) => (status = trailers['grpc-status']));
      call.on('end', () => {
        if (received > prefix.length && status === '0') resolve();
        else reject(new Error(`the answer has ${received} bytes, and the status ${String(status)}`));
      });
      call.on('error', reject);
      call.end(body);
    });
}

process.once('disconnect', () => process.exit(0));
