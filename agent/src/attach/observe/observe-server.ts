import { chmod, lstat, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { systemCode } from '../../host/errors.js';
import { AttachError } from '../errors.js';
import { ObserveConnection, type ConnectionOptions } from './connection.js';
import { RateLimit } from './rate-limit.js';
import { demandShortEnough } from './socket-path.js';

export interface ObserveServerOptions extends Omit<ConnectionOptions, 'id'> {
  readonly socket: string;
}

/** Of all applications together. */
export const MAX_CONNECTIONS = 32;
/** Each that ends without a farewell is an incident. */
const MAX_NEW_PER_SECOND = 32;
/** Who may enter the folder may observe: permissions are the folder's. */
const SOCKET_MODE = 0o666;

/** @throws AttachError OBSERVE_SOCKET_UNUSABLE */
export async function listenObserve(options: ObserveServerOptions): Promise<{ close(): Promise<void> }> {
  const { socket: path } = options;
  demandShortEnough(path);
  const open = new Set<ObserveConnection>();
  let connections = 0;
  const arrivals = new RateLimit(MAX_NEW_PER_SECOND, () => options.clock.monotonic());
  const server = createServer((socket) => {
    if (open.size >= MAX_CONNECTIONS || !arrivals.take()) {
      turnAway(socket, open.size);
      return;
    }
    connections += 1;
    const connection = new ObserveConnection(socket, { ...options, id: connections });
    open.add(connection);
    socket.on('close', () => open.delete(connection));
  });
  try {
    await removeLeftover(path);
    await listen(server, path);
    await chmod(path, SOCKET_MODE);
  } catch (cause) {
    server.close();
    throw new AttachError('OBSERVE_SOCKET_UNUSABLE', `${path} cannot be listened on: ${(cause as Error).message}.`, {
      where: path,
      remedy: 'Set attach.socket to a path in a folder that the user of the agent may write.',
      cause,
    });
  }
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const connection of open) connection.close();
      }),
  };
}

function turnAway(socket: Socket, open: number): void {
  const error =
    open >= MAX_CONNECTIONS
      ? `${MAX_CONNECTIONS} connections are open, which are the most.`
      : `More than ${MAX_NEW_PER_SECOND} connections came in a second.`;
  const remedy = 'Use one connection for each model and process, keep it, and close those that are not needed.';
  socket.on('error', () => socket.destroy());
  socket.end(`${JSON.stringify({ type: 'error', error, code: 'OBSERVE_CROWDED', remedy })}\n`);
  socket.setTimeout(1_000, () => socket.destroy());
}

/** One that was killed leaves its socket behind. What is no socket is somebody else's. */
async function removeLeftover(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (found?.isSocket()) await rm(path, { force: true });
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    // Not once: it may also fail to take a connection later, which is lost and no reason to end.
    server.on('error', reject);
    server.listen({ path }, resolve);
  });
}
