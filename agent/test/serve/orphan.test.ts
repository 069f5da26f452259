import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { expect, it } from 'vitest';
import { processEntry } from '../../src/host/process-entry.js';
import type { ToInference } from '../../src/serve/process/messages.js';

/** Starts the inference process, and does nothing from then on: not even acknowledge the socket that it is handed. */
const DEAF_SUPERVISOR = `
  const { fork } = require('node:child_process');
  const { writeSync } = require('node:fs');
  const child = fork(process.argv[1], [], { serialization: 'advanced', stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
  child.send(JSON.parse(process.argv[2]), () => {
    writeSync(1, child.pid + '\\n');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });
`;

const main = processEntry(
  new URL('../../src/serve/process/inference-process.ts', import.meta.url).href,
  './inference-main.js',
);

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};
const pause = () => new Promise((resolve) => setTimeout(resolve, 20));
const isListening = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    }).on('error', () => resolve(false));
  });

it('when its supervisor is killed before it has acknowledged a socket, the inference process ends, too', async () => {
  const reserved = createServer().listen(0, '127.0.0.1');
  await once(reserved, 'listening');
  const { port } = reserved.address() as AddressInfo;
  await new Promise((resolve) => reserved.close(resolve));
  const start: ToInference = {
    kind: 'start',
    isRestart: false,
    settings: { host: '127.0.0.1', port, providers: ['cpu'], hardwareClass: 'generic', serverVersion: '0' },
    models: [],
    parameters: [],
    regions: [],
    relieves: false,
  };
  const supervisor = spawn(process.execPath, ['-e', DEAF_SUPERVISOR, main.pathname, JSON.stringify(start)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface({ input: supervisor.stdout }), 'line')) as [string];
  const pid = Number(line);
  while (!(await isListening(port))) await pause();
  supervisor.kill('SIGKILL');
  while (isAlive(pid)) await pause();
  expect(await isListening(port)).toBe(false);
});
