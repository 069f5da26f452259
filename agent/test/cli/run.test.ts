import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../supervisor/agent-bench.js';
import { childrenOf, ended, isAlive, openTestDevice, type TestDevice } from './device.js';

const STOP_WITHIN_MS = 10_000;

describe('drover-agent run', () => {
  let device: TestDevice;
  beforeEach(async () => {
    device = await openTestDevice();
  });
  afterEach(() => device.close());

  it('when the device is not enrolled, it says so and ends with 1', async () => {
    const { status, stderr } = await device.command(['run']);
    expect(status).toBe(1);
    expect(stderr).toContain('IDENTITY_NOT_ENROLLED');
    expect(stderr).toContain('drover-agent enrol');
  });

  it('when keys or variables are unknown, all of them are named, and it ends with 1', async () => {
    const file = join(device.dataDir, '..', 'agent.json');
    writeFileSync(file, JSON.stringify({ servePort: 1, learn: { memory: 1 } }));
    const byFile = await device.command(['run', '--config', file]);
    expect([byFile.status, byFile.stderr]).toEqual([
      1,
      expect.stringMatching(/CONFIG_INVALID(?=.*servePort)(?=.*memory)/s),
    ]);
    const variables = { DROVER_AGENT_SERVE_PROT: '1', DROVER_AGENT_NAME: 'x' };
    const byVariable = await device.command(['run'], variables);
    expect(byVariable.status).toBe(1);
    expect(byVariable.stderr).toMatch(/CONFIG_INVALID(?=.*DROVER_AGENT_SERVE_PROT)(?=.*DROVER_AGENT_NAME)/s);
  });

  it('when its key is gone, it does not make another, with which nobody would believe it', async () => {
    await device.enrol();
    rmSync(join(device.dataDir, 'device-key.json'));
    const { status, stderr } = await device.command(['run']);
    expect([status, stderr]).toEqual([1, expect.stringContaining('IDENTITY_DAMAGED')]);
    expect(existsSync(join(device.dataDir, 'device-key.json'))).toBe(false);
  });

  it('when the port for serving is taken, it says so and ends with 1, and nothing lives on', async () => {
    await device.enrol();
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as AddressInfo;
    const { status, stderr } = await device.command(['run'], { DROVER_AGENT_SERVE_PORT: String(port) });
    other.close();
    expect([status, stderr]).toEqual([1, expect.stringContaining('PORT_IN_USE')]);
    const retried = await device.start({ DROVER_AGENT_SERVE_PORT: String(port) });
    expect((await fetch(`http://127.0.0.1:${port}/v2/health/live`)).status).toBe(200);
    expect(retried.servingUrl).toBe(`http://127.0.0.1:${port}`);
  });

  it('when the broker is down at its start, it serves, and connects when the broker comes', async () => {
    await device.enrol();
    const agent = await device.start();
    expect((await fetch(`${agent.servingUrl}/v2/health/live`)).status).toBe(200);
    const waiting = await device.command(['status']);
    expect(waiting.stdout).toContain('not connected');
    const broker = await device.startBroker();
    await until(() => broker.reports.some(({ kind }) => kind === 'state'));
    await until(() => broker.reports.some(({ kind }) => kind === 'telemetry'));
  });

  it('when it is told to stop, it stops within seconds with 0, and so do its children', async () => {
    await device.enrol();
    const agent = await device.start();
    const children = agent.children();
    expect(children.length).toBeGreaterThan(0);
    const toldAtMs = performance.now();
    agent.child.kill('SIGTERM');
    expect(await agent.exited).toBe(0);
    expect(performance.now() - toldAtMs).toBeLessThan(STOP_WITHIN_MS);
    expect(children.filter(isAlive)).toEqual([]);
    expect(existsSync(join(device.dataDir, 'agent.sock'))).toBe(false);
  });

  it.each([
    ['told to stop', 'SIGTERM', 0],
    ['killed', 'SIGKILL', 'SIGKILL'],
  ] as const)(
    'when it is %s while it starts, it ends at once, and so does the child that it just started',
    async (_, signal, ending) => {
      await device.enrol();
      const child = device.spawn();
      const exited = new Promise((resolve) => child.once('exit', (code, killedBy) => resolve(killedBy ?? code)));
      const children = await until(() => {
        const started = existsSync(join(device.dataDir, 'agent.sock')) && childrenOf(child.pid ?? 0);
        return started && started.length > 0 && started;
      });
      child.kill(signal);
      expect(await exited).toBe(ending);
      await until(() => children.every((pid) => !isAlive(pid)));
    },
  );

  it('when another runs on the same folder, it is refused, and the first goes on', async () => {
    await device.enrol();
    const first = await device.start();
    const second = await device.command(['run']);
    expect([second.status, second.stderr]).toEqual([1, expect.stringContaining('AGENT_ALREADY_RUNNING')]);
    expect((await fetch(`${first.servingUrl}/v2/health/live`)).status).toBe(200);
    expect((await device.command(['status'])).status).toBe(0);
  });

  it('when the supervisor is killed, its inference process ends, and a new start works', async () => {
    await device.enrol();
    const killed = await device.start();
    const children = killed.children();
    expect(children.length).toBeGreaterThan(0);
    await ended(killed.child, 'SIGKILL');
    await until(() => children.every((pid) => !isAlive(pid)));
    const agent = await device.start();
    expect((await fetch(`${agent.servingUrl}/v2/health/live`)).status).toBe(200);
  });

  it('when all databases are damaged, each is kept aside, built anew and reported, and the agent comes up', async () => {
    await device.enrol();
    const before = await device.start();
    await ended(before.child, 'SIGTERM');
    const databases = ['telemetry.db', 'outbox.db', 'journal.db'];
    for (const name of databases) {
      writeFileSync(join(device.dataDir, name), Buffer.alloc(8192, 'not a database '));
      for (const suffix of ['-wal', '-shm']) rmSync(join(device.dataDir, name + suffix), { force: true });
    }
    const agent = await device.start();
    expect((await fetch(`${agent.servingUrl}/v2/health/live`)).status).toBe(200);
    const broker = await device.startBroker();
    const told = () =>
      broker.reports.flatMap(({ kind, body }) => {
        const { error } = body as { error?: { code: string; where?: string } };
        return kind === 'incident' && error?.code === 'DATABASE_REBUILT' ? [error.where ?? ''] : [];
      });
    await until(() => told().length >= databases.length);
    for (const name of databases) {
      expect(told().filter((where) => where.startsWith(join(device.dataDir, `${name}.corrupt-`)))).toHaveLength(1);
      expect(readdirSync(device.dataDir).filter((file) => file.startsWith(`${name}.corrupt-`))).not.toEqual([]);
    }
  });

  it('when nobody reads its log any more, it goes on', async () => {
    await device.enrol();
    const agent = await device.start();
    agent.child.stderr?.destroy();
    agent.child.stdout?.destroy();
    const broker = await device.startBroker();
    // By then it has logged that it is connected.
    await until(() => broker.reports.length > 3);
    expect((await device.command(['status'])).stdout).toContain(': connected');
    agent.child.kill('SIGTERM');
    expect(await agent.exited).toBe(0);
  });
});
