import { createServer, type ServerHttp2Session } from 'node:http2';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { ConnectionServer } from '../connection-server.js';
import { inferenceService, type InferenceServiceOptions } from './inference-service.js';

export interface GrpcServerOptions extends InferenceServiceOptions {
  readonly maxBodyBytes: number;
}

const CLOSE_TIMEOUT_MS = 5_000;
/** A stream may last as long as its client likes. */
const RETIRE_TIMEOUT_MS = 60_000;
const MAX_STREAMS = 256;
/** Bytes on their way before they were read: a frame of a camera needs no round trip. */
const WINDOW_BYTES = 4 * 1024 * 1024;

/**
 * Open Inference Protocol v2, gRPC, without TLS, as on the inside of a device. Connect serves it (@connectrpc/connect-node), since it works with the
 * messages of protobuf-es, which we have, and on Node's own http2.
 */
export function createGrpcServer(options: GrpcServerOptions): ConnectionServer {
  const server = createServer(
    { settings: { maxConcurrentStreams: MAX_STREAMS, initialWindowSize: WINDOW_BYTES } },
    connectNodeAdapter({
      routes: inferenceService(options),
      readMaxBytes: options.maxBodyBytes,
      connect: false,
      grpcWeb: false,
    }),
  );
  const sessions = new Set<ServerHttp2Session>();
  let closing: (() => void) | undefined;
  server.on('session', (session) => {
    sessions.add(session);
    // Of the connection; the settings are about streams.
    session.setLocalWindowSize(WINDOW_BYTES);
    session.once('close', () => {
      sessions.delete(session);
      if (sessions.size === 0) closing?.();
    });
  });
  const end = (timeoutMs: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(() => sessions.forEach((session) => session.destroy()), timeoutMs);
      closing = () => {
        clearTimeout(timer);
        resolve();
      };
      // GOAWAY (RFC 9113, section 6.8): clients open a connection of their own accord for what comes next.
      for (const session of sessions) session.close();
      if (sessions.size === 0) closing();
    });
  return {
    take: (socket) => void server.emit('connection', socket),
    close: () => end(CLOSE_TIMEOUT_MS),
    retire: () => end(RETIRE_TIMEOUT_MS),
  };
}
