import { lstat, mkdtemp, rm } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { dirname, join } from 'node:path';
import { systemCode } from '../../host/index.js';
import { AttachError } from '../errors.js';
import { demandShortEnough } from '../observe/socket-path.js';

const CONNECT_TIMEOUT_MS = 2_000;

/**
 * Whether the agent can listen there, or does.
 *
 * @returns what was found
 * @throws AttachError OBSERVE_SOCKET_UNUSABLE
 */
export async function examineSocket(
  path: string,
  { isAgentRunning }: { readonly isAgentRunning: boolean },
): Promise<string> {
  demandShortEnough(path);
  const above = dirname(path);
  const found = await lstat(path).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw unusable(path, error);
  });
  if (found && !found.isSocket()) throw unusable(path, 'something that is no socket lies there');
  const isListened = found !== undefined && (await hasListener(path));
  if (isListened && isAgentRunning) return `${path} takes connections`;
  if (isListened) throw unusable(path, 'another program listens there, and the agent does not run');
  const folder = await mkdtemp(join(above, '.drover-doctor-')).catch((error: unknown) => {
    throw unusable(path, error);
  });
  await rm(folder, { recursive: true, force: true });
  if (isAgentRunning)
    throw unusable(
      path,
      'the agent runs, and does not listen there: it was started with "run", or with another configuration',
    );
  return `${path} is free`;
}

function hasListener(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    const settle = (isListened: boolean): void => {
      socket.destroy();
      resolve(isListened);
    };
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => settle(true));
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
  });
}

function unusable(path: string, cause: unknown): AttachError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new AttachError('OBSERVE_SOCKET_UNUSABLE', `${path} cannot be listened on: ${why}.`, {
    where: path,
    remedy: `Set attach.socket to a path of its own in a folder that the user of the agent may write. Under systemd ${dirname(path)} may be made when the service starts (RuntimeDirectory=).`,
    cause,
  });
}
