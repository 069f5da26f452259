import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../supervisor/agent-bench.js';
import { publishersRepository } from '../update/fixtures/releases.js';
import { openTestDevice, type TestDevice } from './device.js';

let device: TestDevice;
beforeEach(async () => {
  device = await openTestDevice();
});
afterEach(() => device.close());

describe('drover-agent', () => {
  it.each([
    ['without a command', []],
    ['with an unknown command', ['rnu']],
    ['with an unknown option', ['run', '--prot', '1']],
    ['without an option that it needs', ['enrol', '--token', 'x']],
    ['with an option that lacks its value', ['status', '--data-dir']],
  ])('when used wrongly (%s), it shows how and ends with 2', async (_, args) => {
    const { status, stdout, stderr } = await device.command(args);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/Usage|--help/);
  });

  it('when asked for help, it ends with 0 and shows an example', async () => {
    for (const command of ['run', 'enrol', 'status', 'doctor']) {
      const { status, stdout } = await device.command([command, '--help']);
      expect([status, stdout]).toEqual([0, expect.stringContaining(`drover-agent ${command}`)]);
    }
    expect((await device.command(['--help'])).status).toBe(0);
  });

  it('when the data folder on the command line is empty, that is a wrong configuration', async () => {
    const { status, stderr } = await device.command(['status', '--data-dir', '']);
    expect([status, stderr]).toEqual([1, expect.stringContaining('CONFIG_INVALID')]);
  });
});

describe('drover-agent enrol', () => {
  const enrolWith = (root: string, token = 'a-claim-token-of-the-operator', environment = {}) =>
    device.command(['enrol', '--control-plane', device.controlPlaneUrl, '--token', token, '--root', root], environment);
  const rootFile = (content: string): string => {
    const file = join(device.dataDir, '..', 'root.json');
    writeFileSync(file, content);
    return file;
  };
  const pinnedRoot = Buffer.from(publishersRepository().pinnedRoot).toString('utf8');
  const root = () => rootFile(pinnedRoot);

  it('when the control plane grants it, the device is enrolled and knows what to do next', async () => {
    const { status, stdout } = await enrolWith(root());
    expect([status, stdout]).toEqual([0, expect.stringContaining('enrolled as pump-7')]);
    expect(stdout).toContain('drover-agent run');
    const identity = JSON.parse(readFileSync(join(device.dataDir, 'identity.json'), 'utf8')) as object;
    expect(identity).toMatchObject({ controlPlaneUrl: device.controlPlaneUrl, pinnedRoot });
  });

  it('when it is refused, the words of the control plane are shown', async () => {
    const { status, stderr } = await enrolWith(root(), 'another-token-of-somebody');
    expect(status).toBe(1);
    expect(stderr).toMatch(/ENROLMENT_REFUSED.*CLAIM_TOKEN_UNKNOWN/s);
  });

  it.each([
    ['is missing', () => '/nowhere/root.json'],
    ['is no JSON', () => rootFile('{')],
    ['is no root', () => rootFile('{"signed":{"_type":"targets"},"signatures":[]}')],
    ['was changed', () => rootFile(pinnedRoot.replace('"threshold":1', '"threshold":2'))],
  ])('when the root %s, it says so and sends nothing', async (_, file) => {
    const { status, stderr } = await enrolWith(file());
    expect(status).toBe(1);
    expect(stderr).toMatch(/^TUF_ANCHOR_INVALID/);
    expect(stderr).not.toContain('INTERNAL_ERROR');
  });

  it('when the data folder cannot be made, it says so', async () => {
    const file = root();
    const { status, stderr } = await enrolWith(file, undefined, { DROVER_AGENT_DATA_DIR: join(file, 'data') });
    expect([status, stderr]).toEqual([1, expect.stringContaining('AGENT_DATA_DIR_UNUSABLE')]);
  });
});

describe('drover-agent status', () => {
  it('when no agent runs, it says so and ends with 1', async () => {
    const { status, stdout, stderr } = await device.command(['status', '--json']);
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr).toContain('AGENT_NOT_RUNNING');
  });

  it('when the agent runs, it tells people and programs what it does, and why it is not connected', async () => {
    await device.enrol();
    await device.start();
    const text = await until(async () => {
      const { stdout } = await device.command(['status']);
      return stdout.includes('LINK_UNREACHABLE') && stdout;
    });
    expect(text).toMatch(/^pump-7, agent \d+\.\d+\.\d+: not connected, \d+ report\(s\) wait/);
    const json = await device.command(['status', '--json', '--data-dir', device.dataDir]);
    expect(json.status).toBe(0);
    expect(JSON.parse(json.stdout)).toMatchObject({
      deviceId: 'pump-7',
      connected: false,
      linkProblem: { code: 'LINK_UNREACHABLE' },
      models: [],
      driftedModels: [],
    });
  });
});

interface Found {
  readonly ok: boolean;
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[];
}

describe('drover-agent doctor', () => {
  const examine = async (environment = {}) => {
    const { status, stdout } = await device.command(['doctor', '--json'], environment);
    const found = JSON.parse(stdout) as Found;
    expect(status).toBe(found.ok ? 0 : 1);
    const detail = (name: string) => found.checks.find((check) => check.name === name)?.detail;
    return { found, detail, failing: found.checks.filter((check) => !check.ok).map(({ name }) => name) };
  };

  it('when all is well, every line is OK, the provider is proven by a run, and it ends with 0', async () => {
    await device.enrol();
    await device.startBroker();
    await device.start();
    await until(async () => (await device.command(['status'])).stdout.includes(': connected'));
    const { failing, detail } = await examine();
    expect(failing).toEqual([]);
    expect(detail('provider')).toBe('cpu, proven by a run');
    expect(detail('agent')).toBe('runs and is connected');
    const text = await device.command(['doctor']);
    expect(text.status).toBe(0);
    expect(
      text.stdout
        .trim()
        .split('\n')
        .every((line) => line.startsWith('OK ')),
    ).toBe(true);
  });

  it('when the device is new, it says what to do, and still proves the provider', async () => {
    const { failing, detail } = await examine({ DROVER_AGENT_SERVE_PROVIDERS: 'cuda,cpu' });
    expect(failing).toEqual(expect.arrayContaining(['identity', 'agent']));
    expect(detail('identity')).toContain('drover-agent enrol');
    expect(detail('provider')).toMatch(/^cpu, proven by a run; not the first choice because/);
  });

  it('when broker, control plane or providers fail, each is named, and it ends with 1', async () => {
    await device.enrol();
    const broken = JSON.parse(readFileSync(join(device.dataDir, 'identity.json'), 'utf8')) as object;
    writeFileSync(
      join(device.dataDir, 'identity.json'),
      JSON.stringify({ ...broken, controlPlaneUrl: 'http://127.0.0.1:1' }),
    );
    const { failing, detail } = await examine({ DROVER_AGENT_SERVE_PROVIDERS: 'cuda' });
    expect(failing).toEqual(expect.arrayContaining(['control plane', 'broker', 'agent', 'provider']));
    expect(detail('control plane')).toMatch(/ECONNREFUSED|bad port/);
    expect(detail('broker')).toContain('ECONNREFUSED');
  });

  it('when the data folder cannot be written, it says so', async () => {
    const { failing } = await examine({ DROVER_AGENT_DATA_DIR: '/proc/drover' });
    expect(failing).toEqual(expect.arrayContaining(['data folder', 'identity', 'agent']));
  });
});
