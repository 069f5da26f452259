import { createConnection, createServer, type Server } from 'node:net';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from './errors.js';

const socketPath = (dataDir: string): string => join(dataDir, 'agent.sock');

/** Whoever may enter the data folder may ask what the agent is doing: a connection gets one JSON document and the end. */
export async function openStatusSocket(dataDir: string, status: () => object): Promise<{ close(): Promise<void> }> {
  const path = socketPath(dataDir);
  if (await isAnswered(path)) {
    throw new AgentError('AGENT_ALREADY_RUNNING', 'Another agent runs on this data folder.', {
      where: dataDir,
      remedy: 'Stop it first (systemctl stop drover-agent), or give this one a data folder of its own.',
    });
  }
  // What a killed agent left behind: nobody answers on it.
  await rm(path, { force: true });
  const server: Server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.end(JSON.stringify(status()));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  return { close: () => new Promise((resolve) => server.close(() => resolve())) };
}

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

/** @throws AgentError AGENT_NOT_RUNNING */
export function readStatus(dataDir: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = createConnection(socketPath(dataDir));
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.once('error', (cause) =>
      reject(
        new AgentError('AGENT_NOT_RUNNING', 'No agent answers for this data folder.', {
          where: socketPath(dataDir),
          remedy:
            'Start it (systemctl start drover-agent, or drover-agent run), or name its data folder with --data-dir.',
          cause,
        }),
      ),
    );
    socket.once('end', () => resolve(JSON.parse(Buffer.concat(chunks).toString('utf8'))));
  });
}
