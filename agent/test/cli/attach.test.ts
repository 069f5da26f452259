import { existsSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ended, openTestDevice, type TestDevice } from './device.js';

describe('drover-agent attach', () => {
  let device: TestDevice;
  let config: string;
  beforeEach(async () => {
    device = await openTestDevice();
    await device.enrol();
    config = join(device.dataDir, '..', 'agent.json');
  });
  afterEach(() => device.close());

  const configure = (models: object): void => writeFileSync(config, JSON.stringify({ attach: { models } }));

  it('when no application is attached, it says so and ends with 1', async () => {
    configure({});
    const { status, stderr } = await device.command(['attach', '--config', config]);
    expect([status, stderr]).toEqual([1, expect.stringContaining('ATTACH_NOT_CONFIGURED')]);
  });

  it('when an application connects, it is welcome, and where its model is to go is told; nothing is served', async () => {
    const path = join(device.dataDir, '..', 'models', 'gas');
    configure({ gas: { path } });
    const child = device.spawn({}, ['attach', '--json-ready', '--config', config]);
    if (!child.stdout) throw new Error('the agent has no output');
    const ready = await new Promise<string>((resolve) =>
      createInterface({ input: child.stdout as NodeJS.ReadableStream }).once('line', resolve),
    );
    const socket = join(device.dataDir, 'observe.sock');
    expect(JSON.parse(ready)).toEqual({ event: 'ready', observeSocket: socket });
    const application = createConnection(socket);
    const answers = createInterface({ input: application });
    const answer = new Promise<string>((resolve) => answers.once('line', resolve));
    application.write('{"type":"hello","protocol":1,"model":"gas"}\n');
    expect(JSON.parse(await answer)).toEqual({ type: 'welcome', protocol: 1, model: 'gas', path });
    await ended(child, 'SIGTERM');
    expect(existsSync(socket)).toBe(false);
  });

  it('when it is to be checked before it starts, the doctor says with its code what is wrong', async () => {
    const path = join(device.dataDir, '..', 'models', 'gas');
    configure({ gas: { path, reload: { command: ['/no/such/hook'] } } });
    const { status, stdout } = await device.command(['doctor', '--json', '--config', config]);
    const { checks } = JSON.parse(stdout) as { checks: { name: string; ok: boolean; code?: string }[] };
    expect(status).toBe(1);
    expect(checks.filter(({ name }) => /^(attach|gas) /.test(name)).map(({ name, code }) => [name, code])).toEqual([
      ['attach socket', undefined],
      ['attach paths', undefined],
      ['gas path', 'ATTACH_PATH_UNUSABLE'],
      ['gas reload', 'ATTACH_RELOAD_FAILED'],
    ]);
    const text = await device.command(['doctor', '--config', config]);
    expect(text.stdout).toMatch(/^FAIL {2}gas reload {5}ATTACH_RELOAD_FAILED: .*Name a program/m);
  });
});
