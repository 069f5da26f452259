import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStatusSocket, readStatus } from '../../src/supervisor/index.js';

describe('the status socket', () => {
  let dataDir: string;
  const opened: { close(): Promise<void> }[] = [];
  const open = async (status: () => object, folder = dataDir) => {
    const socket = await openStatusSocket(folder, status);
    opened.push(socket);
    return socket;
  };
  beforeEach(() => (dataDir = mkdtempSync(join(tmpdir(), 'drover-status-'))));
  afterEach(async () => {
    for (const socket of opened.splice(0)) await socket.close();
    rmSync(dataDir, { recursive: true, force: true });
  });

  it('when asked, it answers with the status of that moment, however large', async () => {
    let asked = 0;
    await open(() => ({ asked: ++asked, text: 'ä'.repeat(500_000) }));
    await expect(readStatus(dataDir)).resolves.toMatchObject({ asked: 1 });
    await expect(readStatus(dataDir)).resolves.toEqual({ asked: 2, text: 'ä'.repeat(500_000) });
  });

  it('when an agent runs on the folder, another is refused, and the first still answers', async () => {
    await open(() => ({ first: true }));
    await expect(openStatusSocket(dataDir, () => ({}))).rejects.toMatchObject({ code: 'AGENT_ALREADY_RUNNING' });
    await expect(readStatus(dataDir)).resolves.toEqual({ first: true });
  });

  it('when several start at once on what a killed agent left behind, exactly one gets the folder', async () => {
    const path = join(dataDir, 'agent.sock');
    spawnSync(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    expect(existsSync(path)).toBe(true);
    const starts = await Promise.allSettled(Array.from({ length: 8 }, (_, id) => open(() => ({ id }))));
    const codes = starts.map((start) =>
      start.status === 'fulfilled' ? 'runs' : (start.reason as { code: string }).code,
    );
    expect(codes.filter((code) => code === 'runs')).toHaveLength(1);
    expect(new Set(codes)).toEqual(new Set(['runs', 'AGENT_ALREADY_RUNNING']));
    await expect(readStatus(dataDir)).resolves.toHaveProperty('id');
  });

  it('when it is closed, nobody answers, and a new agent may start', async () => {
    await (await open(() => ({}))).close();
    await expect(readStatus(dataDir)).rejects.toMatchObject({ code: 'AGENT_NOT_RUNNING' });
    await open(() => ({ second: true }));
    await expect(readStatus(dataDir)).resolves.toEqual({ second: true });
  });

  it('when somebody asks and never hangs up, it closes all the same', async () => {
    const socket = await open(() => ({ text: 'x'.repeat(10_000_000) }));
    const client = createConnection({ path: join(dataDir, 'agent.sock'), allowHalfOpen: true });
    await new Promise((resolve) => client.once('connect', resolve));
    client.on('error', () => undefined).pause();
    await socket.close();
    client.destroy();
  });

  it('when the status cannot be told while the agent stops, the answer says so', async () => {
    await open(() => {
      throw new Error('the database is closed');
    });
    await expect(readStatus(dataDir)).resolves.toMatchObject({
      stopping: true,
      error: { what: 'the database is closed' },
    });
  });

  it('when the agent hangs, the question ends with a coded error', async () => {
    const hung = createServer(() => undefined).listen(join(dataDir, 'agent.sock'));
    await new Promise((resolve) => hung.once('listening', resolve));
    await expect(readStatus(dataDir, 50)).rejects.toMatchObject({ code: 'AGENT_NOT_ANSWERING' });
    hung.close();
  });

  it('when the answer is cut off, it says so', async () => {
    const dying = createServer((socket) => socket.end('{"deviceId":')).listen(join(dataDir, 'agent.sock'));
    await new Promise((resolve) => dying.once('listening', resolve));
    await expect(readStatus(dataDir)).rejects.toMatchObject({ code: 'AGENT_NOT_ANSWERING' });
    dying.close();
  });

  it('when the path is too long for a socket, the error names the folder as the reason', async () => {
    await expect(openStatusSocket(join(dataDir, 'd'.repeat(120)), () => ({}))).rejects.toMatchObject({
      code: 'AGENT_DATA_DIR_UNUSABLE',
    });
  });
});
