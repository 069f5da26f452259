import { chmod, lstat, rm } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { systemCode } from '../../host/errors.js';
import { ServeError } from '../errors.js';
import { createGrpcServer } from './grpc/grpc-server.js';
import { createRestServer, type RestServerOptions } from './rest/rest-server.js';
import { SharedMemory } from './shared-memory.js';

/** Where applications reach the models of this device. */
export interface InferenceAddress {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** Path of a Unix socket beside it. */
  readonly socket?: string | undefined;
}

export interface InferenceSettings extends InferenceAddress {
  /** Whether applications may have it read and write shared memory that they name; off unless given. */
  readonly sharedMemory?: boolean | undefined;
  /** Of one request, after any decompression; 64 MiB unless given. */
  readonly maxBodyBytes?: number | undefined;
}

export interface InferenceServerOptions extends Omit<RestServerOptions, 'memory' | 'maxBodyBytes'>, InferenceSettings {}

export interface InferenceServer {
  readonly host: string;
  readonly port: number;
  /** Refuses new connections, lets what is under way finish (at most 5 s), then cuts. */
  close(): Promise<void>;
}

/** A frame of 1080p as three planes of float32 takes 24. */
const DEFAULT_MAX_BODY_BYTES = 64 * 1024 * 1024;
const FIRST_BYTES_TIMEOUT_MS = 10_000;
/** Its owner and its group may ask. */
const SOCKET_MODE = 0o660;
/** RFC 9113, section 3.4: how every HTTP/2 connection begins, and no request of HTTP/1.1. */
const HTTP2_PREFACE = 'PRI ';

/**
 * Open Inference Protocol v2, REST and gRPC, on the same port and the same Unix socket: what a client's first bytes are says which it speaks.
 *
 * @throws ServeError PORT_IN_USE, SERVE_ADDRESS_UNUSABLE
 */
export async function listenInference(options: InferenceServerOptions): Promise<InferenceServer> {
  const memory = new SharedMemory({ isAllowed: options.sharedMemory ?? false });
  const bounded = { ...options, maxBodyBytes: options.maxBodyBytes ?? DEFAULT_MAX_BODY_BYTES, memory };
  const rest = createRestServer(bounded);
  const grpc = createGrpcServer(bounded);
  /** Have not said yet what they speak. */
  const undecided = new Set<Socket>();
  const accept = (socket: Socket): void => {
    undecided.add(socket);
    socket.once('close', () => undecided.delete(socket));
    const giveUp = (): void => void socket.destroy();
    socket.setTimeout(FIRST_BYTES_TIMEOUT_MS, giveUp);
    socket.once('error', giveUp);
    let begun = Buffer.alloc(0);
    const look = (): void => {
      begun = Buffer.concat([begun, (socket.read() as Buffer | null) ?? Buffer.alloc(0)]);
      const start = begun.toString('latin1', 0, HTTP2_PREFACE.length);
      if (start.length < HTTP2_PREFACE.length && HTTP2_PREFACE.startsWith(start)) {
        socket.once('readable', look);
        return;
      }
      undecided.delete(socket);
      socket.setTimeout(0);
      socket.off('timeout', giveUp);
      socket.off('error', giveUp);
      socket.off('end', giveUp);
      socket.unshift(begun);
      (start === HTTP2_PREFACE ? grpc : rest).take(socket);
    };
    socket.once('readable', look);
    // A client that ends without a word.
    socket.once('end', giveUp);
  };
  const { host, port, socket } = options;
  const tcp = createServer({ noDelay: true }, accept);
  await listen(tcp, { host, port }, `${host}:${port}`);
  const servers = [tcp];
  if (socket !== undefined) {
    try {
      await removeLeftover(socket);
      const local = createServer(accept);
      await listen(local, { path: socket }, socket);
      await chmod(socket, SOCKET_MODE);
      servers.push(local);
    } catch (error) {
      tcp.close();
      throw error;
    }
  }
  return {
    host,
    port: (tcp.address() as AddressInfo).port,
    async close() {
      const closed = servers.map((server) => new Promise((resolve) => server.close(resolve)));
      for (const silent of undecided) silent.destroy();
      await Promise.all([...closed, rest.close(), grpc.close()]);
      await memory.close();
    },
  };
}

/** One that was killed leaves its socket behind. What is no socket is somebody else's. */
async function removeLeftover(socket: string): Promise<void> {
  const found = await lstat(socket).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (found?.isSocket()) await rm(socket, { force: true });
}

function listen(server: Server, at: { host: string; port: number } | { path: string }, where: string): Promise<void> {
  return new Promise((resolve, reject) => {
    // Not once: it may also fail to take a connection later, which is lost and no reason to end.
    server.on('error', (cause: NodeJS.ErrnoException) => {
      reject(
        cause.code === 'EADDRINUSE'
          ? new ServeError('PORT_IN_USE', `Another program listens on ${where}.`, {
              remedy: 'Stop it, or choose another serve.port.',
              where,
              cause,
            })
          : new ServeError('SERVE_ADDRESS_UNUSABLE', `${where} cannot be listened on: ${cause.message}.`, {
              remedy:
                'Set serve.host to an address of this device, serve.port to one that its user may bind, and serve.socket to a folder that it may write.',
              where,
              cause,
            }),
      );
    });
    server.listen(at, resolve);
  });
}
