import type { SendHandle } from 'node:child_process';
import { chmod, lstat, rename, rm } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { systemCode } from '../../host/errors.js';
import { ServeError } from '../errors.js';

/** The two places where applications reach this device's models. */
export type ListenerPlace = 'port' | 'socket';

/**
 * A socket that listens. A process that holds one without a server around it accepts nothing; whoever it hands it to does. While anybody holds it, connections wait for
 * somebody to accept them instead of being refused.
 */
export type ListenerHandle = SendHandle;
/** The same; to another thread it is known by its descriptor, which whoever listens on it closes. */
export type HeldListener = ListenerHandle | { readonly fd: number };

/** Its owner and its group may ask. */
const SOCKET_MODE = 0o660;

export interface ListenOptions {
  readonly accept: (socket: Socket) => void;
  /** From another process that listens, or did. */
  readonly held?: HeldListener | undefined;
}

/** @throws ServeError PORT_IN_USE, SERVE_ADDRESS_UNUSABLE */
export async function listenOnPort(host: string, port: number, { accept, held }: ListenOptions): Promise<Server> {
  const server = createServer({ noDelay: true }, accept);
  await listen(server, held ?? { host, port }, `${host}:${port}`);
  return server;
}

/** @throws ServeError SERVE_ADDRESS_UNUSABLE */
export async function listenOnSocket(path: string, { accept, held }: ListenOptions): Promise<Server> {
  const server = createServer(accept);
  if (held) {
    await listen(server, held, path);
    return server;
  }
  // libuv removes the path that it was bound to when the first holder closes it, which may be long before the last: so it is bound to another, and is reachable only once its mode is set.
  const bound = `${path}.new`;
  await refuseOther(path);
  await rm(bound, { force: true });
  await listen(server, { path: bound }, path);
  await chmod(bound, SOCKET_MODE);
  await rename(bound, path);
  return server;
}

export const portOf = (server: Server): number => (server.address() as AddressInfo).port;

/**
 * What another process can be given to listen on the same socket.
 *
 * Node documents that handles travel between processes (child_process, `subprocess.send`) and that a server can listen on one, but takes them only out of a whole server, which would accept
 * wherever it arrives. Hence the one look behind the scenes; a test on each version of Node sees to it that it holds.
 */
export function handleOf(server: Server): ListenerHandle {
  const { _handle: handle } = server as unknown as { readonly _handle: ListenerHandle };
  return handle;
}

/** Of a socket that came from another process, for a thread that is to own it. */
export const descriptorOf = (handle: ListenerHandle): number => (handle as unknown as { readonly fd: number }).fd;

/** This process holds it no longer. */
export const closeHandle = (handle: ListenerHandle): void => (handle as unknown as { close(): void }).close();

/** A socket is what an earlier life left behind; what is no socket is somebody else's. */
async function refuseOther(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw unusable(path, error as Error);
  });
  if (found && !found.isSocket()) throw unusable(path, new Error('a file that is no socket lies there'));
}

function listen(
  server: Server,
  at: HeldListener | { host: string; port: number } | { path: string },
  where: string,
): Promise<void> {
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
          : unusable(where, cause),
      );
    });
    server.listen(at, resolve);
  });
}

const unusable = (where: string, cause: Error): ServeError =>
  new ServeError('SERVE_ADDRESS_UNUSABLE', `${where} cannot be listened on: ${cause.message}.`, {
    remedy:
      'Set serve.host to an address of this device, serve.port to one that its user may bind, and serve.socket to a free path in a folder that it may write.',
    where,
    cause,
  });
