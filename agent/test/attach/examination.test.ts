import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Value } from 'typebox/value';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { examineAttached, type AttachExamined } from '../../src/attach/examination/index.js';
import { AttachedModel } from '../../src/config/attached-model.js';

describe('when the configuration of attached applications is examined', () => {
  let folder: string;
  let closers: (() => void)[];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'drover-examined-'));
    closers = [];
  });
  afterEach(() => {
    for (const close of closers) close();
    rmSync(folder, { recursive: true, force: true });
  });

  const program = (name: string, mode = 0o755): string => {
    const file = join(folder, name);
    writeFileSync(file, '#!/bin/sh\nexit 0\n');
    chmodSync(file, mode);
    return file;
  };
  const processOf = (command: string, ...args: string[]): string => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    closers.push(() => child.kill('SIGKILL'));
    const pidFile = join(folder, 'application.pid');
    writeFileSync(pidFile, `${child.pid ?? ''}\n`);
    return pidFile;
  };
  const listening = async (server: ReturnType<typeof createServer>, where: string | number): Promise<void> => {
    await new Promise<void>((resolve) => server.listen(where, resolve));
    closers.push(() => server.close());
  };
  const healthAnswering = async (status: number): Promise<string> => {
    const server = createHttpServer((_request, response) => response.writeHead(status).end('{}'));
    await listening(server, 0);
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  };
  const examine = (
    models: Readonly<Record<string, object>>,
    { socket = join(folder, 'observe.sock'), isAgentRunning = false } = {},
  ): Promise<AttachExamined[]> =>
    examineAttached({
      models: Object.fromEntries(
        Object.entries(models).map(([name, settings]) => [
          name,
          Value.Default(AttachedModel, { path: join(folder, 'models', name), ...settings }) as AttachedModel,
        ]),
      ),
      socket,
      searchPath: process.env['PATH'] ?? '',
      isAgentRunning,
    });
  /** What is wrong with which of them. */
  const codes = (examined: readonly AttachExamined[]) =>
    examined.flatMap(({ name, found }) => (typeof found === 'string' ? [] : [[name, found.code]]));
  const whyOf = (examined: readonly AttachExamined[], wanted: string): string => {
    const found = examined.find(({ name }) => name === wanted)?.found;
    return typeof found === 'object' ? `${found.what} ${found.remedy}` : '';
  };

  it('nothing is looked at where no application is attached', async () => {
    expect(await examine({})).toEqual([]);
  });

  it('all that is there is said, and nothing is left behind or run that makes the application load', async () => {
    mkdirSync(join(folder, 'models'));
    symlinkSync('gas.releases/1', join(folder, 'models', 'gas'));
    const touched = join(folder, 'touched');
    const hook = program('hook');
    writeFileSync(hook, `#!/bin/sh\ntouch ${touched}\n`);
    const examined = await examine({
      gas: {
        reload: { command: [hook] },
        health: { http: await healthAnswering(200) },
        selfTest: { command: [program('judge')] },
      },
      air: { reload: { command: ['true'] }, health: { command: [program('well')] } },
    });
    expect(codes(examined)).toEqual([]);
    expect(examined.map(({ name }) => name)).toEqual([
      ...['attach socket', 'attach paths', 'gas path', 'gas reload', 'gas health', 'gas self-test'],
      ...['air path', 'air reload', 'air health'],
    ]);
    expect(examined.find(({ name }) => name === 'gas path')?.found).toContain('is a link, and can be switched');
    expect(readdirSync(join(folder, 'models'))).toEqual(['gas']);
    expect([existsSync(touched), existsSync(join(folder, 'observe.sock'))]).toEqual([false, false]);
  });

  it('a folder that is not there, and something else at the path, are found', async () => {
    const missing = await examine({ gas: {} });
    expect(codes(missing)).toEqual([['gas path', 'ATTACH_PATH_UNUSABLE']]);
    expect(whyOf(missing, 'gas path')).toContain(`Make ${join(folder, 'models')}`);
    mkdirSync(join(folder, 'models', 'gas'), { recursive: true });
    const taken = await examine({ gas: {} });
    expect(whyOf(taken, 'gas path')).toContain('something that is no symbolic link lies there');
  });

  it('models whose paths meet are found', async () => {
    mkdirSync(join(folder, 'gas.releases'));
    const path = join(folder, 'gas');
    expect(codes(await examine({ gas: { path }, air: { path } }))).toEqual([['attach paths', 'ATTACH_PATH_UNUSABLE']]);
    const below = await examine({ gas: { path }, air: { path: join(folder, 'gas.releases', 'air') } });
    expect(whyOf(below, 'attach paths')).toContain('The paths of gas and air meet');
  });

  it.each([
    ['cannot be run', () => ({ command: [program('hook', 0o644)] }), 'EACCES'],
    ['is a folder', () => ({ command: [folder] }), 'is no file'],
    ['is nowhere', () => ({ command: ['drover-no-such-program'] }), 'there is no drover-no-such-program in'],
    ['is for an application that is not there', () => ({ signal: 'SIGHUP', pidFile: join(folder, 'none') }), 'ENOENT'],
    [
      'would end the application',
      () => ({ signal: 'SIGUSR1', pidFile: processOf('sleep', '60') }),
      'would end of SIGUSR1',
    ],
  ])('a hook that %s is found', async (_, reload, why) => {
    mkdirSync(join(folder, 'models'));
    const examined = await examine({ gas: { reload: reload() } });
    expect(codes(examined)).toEqual([['gas reload', 'ATTACH_RELOAD_FAILED']]);
    expect(whyOf(examined, 'gas reload')).toContain(why);
  });

  it('a process that ignores or heeds the signal can be sent it', async () => {
    mkdirSync(join(folder, 'models'));
    const pidFile = processOf('nohup', 'sleep', '60');
    const reload = { signal: 'SIGHUP', pidFile };
    // nohup says so to the kernel before it becomes the program.
    await expect.poll(async () => codes(await examine({ gas: { reload } })), { timeout: 20_000 }).toEqual([]);
  });

  it('a health check that does not pass, and a self-test that is not there, are found', async () => {
    mkdirSync(join(folder, 'models'));
    const health = { http: await healthAnswering(503) };
    const examined = await examine({ gas: { health, selfTest: { command: ['/no/such'] } } });
    expect(codes(examined)).toEqual([
      ['gas health', 'ATTACH_UNHEALTHY'],
      ['gas self-test', 'ATTACH_SELF_TEST_FAILED'],
    ]);
  });

  it('a socket that is too long, taken, or not where the agent listens is found', async () => {
    mkdirSync(join(folder, 'models'));
    const found = async (options: { socket?: string; isAgentRunning?: boolean }) =>
      whyOf(await examine({ gas: {} }, options), 'attach socket');
    expect(await found({ socket: `/tmp/${'ä'.repeat(52)}` })).toContain('has 109 bytes');
    expect(await found({ socket: join(folder, 'none', 'observe.sock') })).toContain('ENOENT');
    expect(await found({ isAgentRunning: true })).toContain('the agent runs, and does not listen there');
    const socket = join(folder, 'taken.sock');
    await listening(createServer(), socket);
    expect(await found({ socket })).toContain('another program listens there');
    expect(await found({ socket, isAgentRunning: true })).toBe('');
    writeFileSync(join(folder, 'file'), '');
    expect(await found({ socket: join(folder, 'file') })).toContain('something that is no socket lies there');
  });
});
