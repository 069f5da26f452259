import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startControlPlane, type ControlPlaneProcess } from '../../src/fleet/control-plane-process.js';
import { createClaimToken } from '../../src/fleet/operator-requests.js';
import { until } from '../../src/fleet/wait.js';
import { administratorOf, openRepository, runDrover } from '../drover-command.js';
import { faultyBundle, realBundle, REPOSITORY, type Bundle } from './agent-bundles.js';

const run = promisify(execFile);
const DEVICE = 'pump-7';

interface DeviceView {
  readonly connected: boolean;
  readonly agentVersion: string;
  readonly models: readonly {
    readonly model: string;
    readonly running?: { readonly release: { readonly version: string } };
    readonly update: { readonly state: string };
    readonly lastOutcome?: {
      readonly outcome: string;
      readonly error?: { readonly code: string; readonly what: string };
    };
  }[];
}

/** Everything is real: bundles, installer, launcher, agents, control plane, command line. */
describe('when the agent itself is released', () => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-agent-update-'));
  const root = join(folder, 'root');
  const stateDir = join(root, 'var/lib/drover/agent');
  let controlPlane: ControlPlaneProcess;
  let launcher: ChildProcess;
  let launcherEnded: Promise<unknown>;
  let log = '';

  const environment = () => ({
    PATH: process.env['PATH'] ?? '',
    DROVER_LAUNCHER_STATE: stateDir,
    DROVER_AGENT_DATA_DIR: join(root, 'var/lib/drover'),
    DROVER_AGENT_DEVICE_ID: DEVICE,
    DROVER_AGENT_SERVE_PORT: '0',
    DROVER_AGENT_TELEMETRY_INTERVAL_MS: '300',
  });
  const program = join(root, 'opt/drover/launcher/drover-agent');

  async function drover(...args: string[]): Promise<unknown> {
    return JSON.parse(await runDrover(['--json', ...args], { environment: administratorOf(controlPlane) }));
  }

  const device = () => controlPlane.operator.get<DeviceView>(`/api/v1/devices/${DEVICE}`);
  const agentOf = (view: DeviceView) => view.models.find(({ model }) => model === 'drover-agent');

  function waitFor<Found>(what: string, look: (view: DeviceView) => Found | undefined): Promise<Found> {
    return until(async () => look(await device()), {
      what,
      timeoutMs: 60_000,
      everyMs: 100,
      signal: new AbortController().signal,
      state: () => log.split('\n').slice(-30).join('\n'),
    });
  }

  async function release({ file, version }: Bundle): Promise<string> {
    await drover('agent', 'publish', file, '--version', version, '--key', join(folder, 'publisher.key'));
    const { id } = (await drover(
      'rollout',
      'create',
      `drover-agent@${version}`,
      '--stages',
      'all:100%',
      '--probation',
      join(folder, 'probation.json'),
      '--gate',
      join(folder, 'gate.json'),
    )) as { id: string };
    return id;
  }
  const rolloutState = async (id: string) =>
    (await controlPlane.operator.get<{ state: string }>(`/api/v1/rollouts/${id}`)).state;

  beforeAll(async () => {
    writeFileSync(join(folder, 'probation.json'), JSON.stringify({ minMs: 1_000, maxMs: 15_000 }));
    writeFileSync(
      join(folder, 'gate.json'),
      JSON.stringify({ minSoakMs: 0, timeoutMs: 120_000, failureShare: { acceptable: 0.05, unacceptable: 0.5 } }),
    );
    controlPlane = await startControlPlane({ dataDir: join(folder, 'control-plane'), httpPort: 0, mqttPort: 0 });
    const key = join(folder, 'publisher.key');
    await openRepository(drover, { folder, key, families: ['drover-agent'] });
    const claimToken = await createClaimToken(controlPlane.operator);
    const { file } = realBundle(folder, '0.1.0');
    await run('sh', [
      join(REPOSITORY, 'firmware-images/systemd/install.sh'),
      '--bundle',
      file,
      '--node',
      process.execPath,
      '--root',
      root,
    ]);
    await run(
      program,
      ['enrol', '--control-plane', controlPlane.httpUrl, '--token', claimToken, '--root', join(folder, 'root.json')],
      { env: environment() },
    );
    launcher = spawn(program, ['run'], { env: environment(), stdio: ['ignore', 'ignore', 'pipe'] });
    launcher.stderr?.setEncoding('utf8').on('data', (text: string) => (log += text));
    launcherEnded = new Promise((resolve) => launcher.once('exit', resolve));
    await waitFor('the installed agent', (view) =>
      view.connected && view.agentVersion === '0.1.0' ? true : undefined,
    );
  }, 120_000);

  afterAll(async () => {
    launcher.kill('SIGTERM');
    await launcherEnded;
    await controlPlane.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('a good one is fetched, checked, started beside the old one, watched and committed', async () => {
    const rollout = await release(realBundle(folder, '0.2.0'));

    await expect(drover('rollout', 'create', 'drover-agent@0.2.0', '--judge', 'accuracy')).rejects.toMatchObject({
      stdout: expect.stringContaining('ROLLOUT_INVALID') as string,
    });

    const view = await waitFor('the new agent', (each) =>
      each.agentVersion === '0.2.0' && agentOf(each)?.lastOutcome?.outcome === 'committed' ? each : undefined,
    );
    expect(agentOf(view)?.running?.release.version).toBe('0.2.0');
    await until(async () => ((await rolloutState(rollout)) === 'completed' ? true : undefined), {
      what: 'the end of the rollout',
      timeoutMs: 30_000,
      signal: new AbortController().signal,
    });
    expect(readSlots()).toMatchObject({
      committed: expect.stringMatching(/^0\.2\.0-/) as string,
      previous: expect.stringMatching(/^0\.1\.0-/) as string,
    });
    expect(readSlots()).not.toHaveProperty('candidate');
  }, 120_000);

  it.each([
    ['dies as soon as it runs', '0.3.0', `process.exit(9);`, 'exit code 9'],
    [
      'crashes before it serves',
      '0.4.0',
      `setInterval(() => process.send('alive'), 100); setTimeout(() => process.kill(process.pid, 'SIGSEGV'), 1500);`,
      'SIGSEGV',
    ],
  ])(
    'one that %s is taken back, and the control plane is told the truth',
    async (_, version, program, why) => {
      const rollout = await release(faultyBundle(folder, version, program));

      const view = await waitFor('the way back', (each) => {
        const agent = agentOf(each);
        return agent?.update.state === 'idle' &&
          agent.lastOutcome?.outcome === 'fell-back' &&
          agent.lastOutcome.error?.what.includes(version)
          ? each
          : undefined;
      });
      expect(view.agentVersion).toBe('0.2.0');
      expect(agentOf(view)).toMatchObject({
        running: { release: { version: '0.2.0' } },
        lastOutcome: { error: { code: 'AGENT_TAKEN_BACK', what: expect.stringContaining(why) as string } },
      });
      await until(async () => ((await rolloutState(rollout)) === 'reverted' ? true : undefined), {
        what: 'the rollout to stop',
        timeoutMs: 30_000,
        signal: new AbortController().signal,
      });
    },
    90_000,
  );

  function readSlots(): object {
    return JSON.parse(readFileSync(join(stateDir, 'slots.json'), 'utf8')) as object;
  }
});
