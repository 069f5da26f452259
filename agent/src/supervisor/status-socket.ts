import { randomBytes } from 'node:crypto';
import { rename, rm } from 'node:fs/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { toCodedErrorJson } from '@drover/shared/coded-error';
import { systemCode } from '../host/index.js';
import { AgentError } from './errors.js';

const socketPath = (dataDir: string): string => join(dataDir, 'agent.sock');
const ANSWER_TIMEOUT_MS = 5_000;
/** sockaddr_un holds 104 to 108 bytes, and Node cuts a longer path off without a word: two agents could meet on what is left. */
const MAX_PATH_BYTES = 103;

/**
 * Whoever may enter the data folder may ask what the agent is doing: a connection gets one JSON document and the end. The socket also is the
 * lock of the folder, because the kernel lets only one process bind it.
 *
 * @throws AgentError AGENT_ALREADY_RUNNING, AGENT_DATA_DIR_UNUSABLE
 */
export async function openStatusSocket(dataDir: string, status: () => object): Promise<{ close(): Promise<void> }> {
  const path = socketPath(dataDir);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket));
    socket.end(answerOf(status));
  });
  await bind(server, dataDir, path);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        // Someone who asked and then never hung up must not keep the agent from stopping.
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** While the agent stops, its parts may no longer be asked; that is no reason to crash. */
function answerOf(status: () => object): string {
  try {
    return JSON.stringify(status());
  } catch (error) {
    return JSON.stringify({ stopping: true, error: toCodedErrorJson(error) });
  }
}

async function bind(server: Server, dataDir: string, path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) throw unusable(path, `its path has more than ${MAX_PATH_BYTES} bytes`);
  try {
    await listen(server, path);
    return;
  } catch (error) {
    if (systemCode(error) !== 'EADDRINUSE') throw unusable(path, error);
  }
  if (await isAnswered(path)) throw alreadyRunning(dataDir);
  // What a killed agent left behind is moved away first: should another start have bound the path just now, that one is what was moved.
  const aside = `${path}.${randomBytes(4).toString('hex')}`;
  await rename(path, aside).catch((error: unknown) => {
    if (systemCode(error) !== 'ENOENT') throw unusable(path, error);
  });
  if (await isAnswered(aside)) {
    await rename(aside, path);
    throw alreadyRunning(dataDir);
  }
  await rm(aside, { force: true });
  await listen(server, path).catch((error: unknown) => {
    throw systemCode(error) === 'EADDRINUSE' ? alreadyRunning(dataDir) : unusable(path, error);
  });
}

const listen = (server: Server, path: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });

const alreadyRunning = (dataDir: string): AgentError =>
  new AgentError('AGENT_ALREADY_RUNNING', 'Another agent runs on this data folder.', {
    where: dataDir,
    remedy: 'Stop it first (systemctl stop drover-agent), or give this one a data folder of its own.',
  });

const unusable = (path: string, cause: unknown): AgentError =>
  new AgentError(
    'AGENT_DATA_DIR_UNUSABLE',
    `The status socket cannot be opened: ${cause instanceof Error ? cause.message : String(cause)}.`,
    {
      where: path,
      remedy: 'Give the agent a folder with a short path that it may write (dataDir).',
      cause,
    },
  );

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** @throws AgentError AGENT_NOT_RUNNING, AGENT_NOT_ANSWERING */
export function readStatus(dataDir: string, timeoutMs = ANSWER_TIMEOUT_MS): Promise<unknown> {
  const path = socketPath(dataDir);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = createConnection(path);
    const timer = setTimeout(() => socket.destroy(silent(path, `no answer within ${timeoutMs} ms`)), timeoutMs);
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.once('error', (cause) => reject(cause instanceof AgentError ? cause : notRunning(path, cause)));
    socket.once('close', () => {
      clearTimeout(timer);
      try {
        resolve(JSON.parse(Buffer.concat(chunks).toString('utf8')));
      } catch (cause) {
        reject(silent(path, 'its answer is cut off', cause));
      }
    });
  });
}

function notRunning(path: string, cause: unknown): AgentError {
  if (['EACCES', 'EPERM'].includes(systemCode(cause) ?? '')) {
    return new AgentError('AGENT_NOT_RUNNING', 'This user may not ask the agent of this data folder.', {
      where: path,
      remedy: 'Ask as its user (sudo -u drover drover-agent status), or as root.',
      cause,
    });
  }
  return new AgentError('AGENT_NOT_RUNNING', 'No agent answers for this data folder.', {
    where: path,
    remedy: 'Start it (systemctl start drover-agent, or drover-agent run), or name its data folder with --data-dir.',
    cause,
  });
}

const silent = (path: string, why: string, cause?: unknown): AgentError =>
  new AgentError('AGENT_NOT_ANSWERING', `The agent of this data folder runs, but does not answer: ${why}.`, {
    where: path,
    remedy: 'Ask again. If it stays so, the agent hangs: restart it (systemctl restart drover-agent) and keep its log.',
    cause,
  });
