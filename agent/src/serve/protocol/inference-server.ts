import { rm } from 'node:fs/promises';
import type { Server, Socket } from 'node:net';
import { createGrpcServer } from './grpc/grpc-server.js';
import { Handover } from './handover.js';
import { listenOnPort, listenOnSocket, portOf, type HeldListener, type ListenerPlace } from './listener.js';
import { createRestServer, type RestServerOptions } from './rest/rest-server.js';
import { SharedMemory, type Region } from './shared-memory.js';

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

export interface InferenceServerOptions
  extends Omit<RestServerOptions, 'memory' | 'maxBodyBytes' | 'handover'>, InferenceSettings {
  readonly succession?: Succession;
  /** Regions of shared memory were registered or given up; all that there are. */
  readonly onRegions?: (regions: readonly Region[]) => Promise<void>;
  /** In place of a memory of its own. */
  readonly memory?: SharedMemory;
  /** Connections were accepted here, of which other threads might have had some. */
  readonly onAccepted?: (socket: Socket) => void;
}

/** What a process takes over from the one before it. */
export interface Succession {
  /** Sockets that listen already. */
  readonly held: Readonly<Partial<Record<ListenerPlace, HeldListener>>>;
  /** Shared memory that clients have registered. */
  readonly regions: readonly Region[];
  /** A region of these is gone. */
  readonly onIncident: (error: unknown) => void;
}

export interface InferenceServer {
  readonly host: string;
  readonly port: number;
  readonly memory: SharedMemory;
  readonly listeners: Readonly<Partial<Record<ListenerPlace, Server>>>;
  /** Refuses new connections, lets what is under way finish (at most 5 s), then cuts. */
  close(): Promise<void>;
  /** Leaves new connections to whoever listens on the same sockets. Requests that come on the others wait until this retires. */
  giveWay(): void;
  /**
   * After it gave way, and everybody else in this process: hands requests on to whoever listens. Leaves connections to their clients: each ends with its next answer, or when it was silent
   * for as long as it may be. Resolves when none is left.
   */
  retire(): Promise<void>;
}

/** A frame of 1080p as three planes of float32 takes 24. */
const DEFAULT_MAX_BODY_BYTES = 64 * 1024 * 1024;
const FIRST_BYTES_TIMEOUT_MS = 10_000;
/** RFC 9113, section 3.4: how every HTTP/2 connection begins, and no request of HTTP/1.1. */
const HTTP2_PREFACE = 'PRI ';

/**
 * Open Inference Protocol v2, REST and gRPC, on the same port and the same Unix socket: what a client's first bytes are says which it speaks.
 *
 * @throws ServeError PORT_IN_USE, SERVE_ADDRESS_UNUSABLE
 */
export async function listenInference(options: InferenceServerOptions): Promise<InferenceServer> {
  const { host, port, socket: path, onRegions, succession } = options;
  const memory = options.memory ?? new SharedMemory({ isAllowed: options.sharedMemory ?? false, onChange: onRegions });
  for (const region of succession?.regions ?? []) await memory.register(region).catch(succession?.onIncident);
  const handover = new Handover();
  const bounded = { ...options, maxBodyBytes: options.maxBodyBytes ?? DEFAULT_MAX_BODY_BYTES, memory, handover };
  const rest = createRestServer(bounded);
  const grpc = createGrpcServer(bounded);
  /** Have not said yet what they speak. */
  const undecided = new Set<Socket>();
  let onAllDecided = (): void => undefined;
  const decided = (socket: Socket): void => {
    undecided.delete(socket);
    if (undecided.size === 0) onAllDecided();
  };
  const accept = (socket: Socket): void => {
    undecided.add(socket);
    socket.once('close', () => decided(socket));
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
      socket.setTimeout(0);
      socket.off('timeout', giveUp);
      socket.off('error', giveUp);
      socket.off('end', giveUp);
      socket.unshift(begun);
      (start === HTTP2_PREFACE ? grpc : rest).take(socket);
      decided(socket);
    };
    socket.once('readable', look);
    // A client that ends without a word.
    socket.once('end', giveUp);
    options.onAccepted?.(socket);
  };
  const tcp = await listenOnPort(host, port, { accept, held: succession?.held.port });
  let local: Server | undefined;
  try {
    if (path !== undefined) local = await listenOnSocket(path, { accept, held: succession?.held.socket });
  } catch (error) {
    tcp.close();
    throw error;
  }
  const stopListening = () =>
    [tcp, local].map((server) => new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve())));
  let closed: Promise<void>[] = [];
  const allDecided = (): Promise<void> =>
    new Promise((resolve) => {
      onAllDecided = resolve;
      if (undecided.size === 0) resolve();
    });
  return {
    host,
    port: portOf(tcp),
    memory,
    listeners: { port: tcp, ...(local ? { socket: local } : {}) },
    async close() {
      closed = stopListening();
      if (path !== undefined) await rm(path, { force: true });
      for (const silent of undecided) silent.destroy();
      await Promise.all([...closed, rest.close(), grpc.close()]);
      await memory.close();
    },
    giveWay() {
      handover.begin(tcp);
      // A server counts the connections that it has taken as its own until they end.
      closed = stopListening();
    },
    async retire() {
      handover.complete();
      await allDecided();
      await Promise.all([rest.retire(), grpc.retire(), ...closed]);
      await memory.close();
    },
  };
}
