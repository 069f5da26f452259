import { once } from 'node:events';
import type { Socket } from 'node:net';
import {
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { ClientSignal } from '../../scheduling/run-queue.js';
import type { ConnectionServer } from '../connection-server.js';
import { GRPCInferenceService, type ModelInferRequest } from './generated/inference_pb.js';
import { inferenceService, statusOf, type CallContext, type InferenceServiceOptions } from './inference-service.js';
import { definitionOf } from './service-definition.js';

export interface GrpcServerOptions extends InferenceServiceOptions {
  readonly maxBodyBytes: number;
}

const CLOSE_TIMEOUT_MS = 5_000;
/** A stream may last as long as its client likes. */
const RETIRE_TIMEOUT_MS = 60_000;
const MAX_STREAMS = 256;

/**
 * Open Inference Protocol v2, gRPC, without TLS, as on the inside of a device. @grpc/grpc-js serves it, gRPC's own library for Node: it takes connections that others have accepted, and costs a quarter of what Connect does for
 * each request.
 */
export function createGrpcServer({ maxBodyBytes, ...options }: GrpcServerOptions): ConnectionServer {
  const server = new Server({
    'grpc.max_receive_message_length': maxBodyBytes,
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': MAX_STREAMS,
    // Statistics that nobody asks for.
    'grpc.enable_channelz': 0,
  });
  server.addService(definitionOf(GRPCInferenceService), implementation(inferenceService(options)));
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const sockets = new Set<Socket>();
  let ending: { readonly timeoutMs: number; readonly ended: () => void } | undefined;
  const end = (timeoutMs: number): Promise<void> =>
    new Promise((ended) => {
      ending = { timeoutMs, ended };
      // GOAWAY (RFC 9113, section 6.8): clients open a connection of their own accord for what comes next.
      injector.drain(timeoutMs);
      if (sockets.size === 0) ended();
    });
  return {
    take(socket) {
      sockets.add(socket);
      socket.once('close', () => {
        sockets.delete(socket);
        if (sockets.size === 0) ending?.ended();
      });
      injector.injectConnection(socket);
      if (ending) injector.drain(ending.timeoutMs);
    },
    close: () => end(CLOSE_TIMEOUT_MS),
    retire: () => end(RETIRE_TIMEOUT_MS),
  };
}

type Service = ReturnType<typeof inferenceService>;
type InferStream = ServerDuplexStream<ModelInferRequest, unknown>;
type AnyCall = ServerUnaryCall<unknown, unknown> | InferStream;

function implementation({ streamInfer, unary }: Service): UntypedServiceImplementation {
  const handlers = Object.entries(unary).map(([name, handle]) => {
    const answer = handle as (request: unknown, context: CallContext) => unknown;
    const handler = (
      call: ServerUnaryCall<unknown, unknown>,
      callback: (error: object | null, reply?: unknown) => void,
    ) => {
      new Promise((resolve) => resolve(answer(call.request, contextOf(call)))).then(
        (reply) => callback(null, reply),
        (error: unknown) => callback(statusOf(error)),
      );
    };
    return [name, handler] as const;
  });
  const answerInTurn = async (call: InferStream, request: ModelInferRequest): Promise<void> => {
    const answer = await streamInfer(request, contextOf(call));
    // A client that does not read is not read from.
    if (!call.write(answer) && !call.cancelled) await once(call, 'drain');
  };
  const modelStreamInfer = (call: InferStream): void => {
    let turn = Promise.resolve();
    call.on('data', (request: ModelInferRequest) => {
      call.pause();
      turn = answerInTurn(call, request).then(
        () => void call.resume(),
        (error: unknown) => {
          // Where the client has gone, nobody is there to whom it could be said.
          if (!call.cancelled) call.emit('error', statusOf(error));
        },
      );
    });
    // Comes with the last request, whose answer may be under way.
    call.on('end', () => void turn.then(() => call.end()));
  };
  return { ...Object.fromEntries(handlers), modelStreamInfer };
}

function contextOf(call: AnyCall): CallContext {
  const deadline = call.getDeadline();
  const leftMs = Number(deadline) - Date.now();
  return { signal: signalOf(call), deadlineMs: Number.isFinite(leftMs) ? performance.now() + leftMs : undefined };
}

/** Aborted when the client gives the call up, or its time is over. Costs nothing where nobody listens, as for what is run at once. */
const signalOf = (call: AnyCall): ClientSignal => ({
  get aborted() {
    return call.cancelled;
  },
  addEventListener: (_type, listener) => void call.once('cancelled', listener),
  removeEventListener: (_type, listener) => void call.off('cancelled', listener),
});
