import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '@drover/agent/host';
import { buildDenseClassifier } from '@drover/agent/learn';
import { DeviceId } from '@drover/shared/ids';
import { seededRandom } from '@drover/shared/statistics';
import {
  createClaimToken,
  fakeHost,
  startControlPlane,
  startVirtualDevice,
  until,
  type ControlPlaneProcess,
  type VirtualDevice,
} from '../../src/fleet/index.js';
import { administratorOf, openRepository, runDrover } from '../drover-command.js';

const { signal } = new AbortController();
const SITES = { hall: 'hall-1', yard: 'yard-1' } as const;

interface Values {
  readonly version: string;
  readonly digest: string;
  readonly site: string;
  readonly values: Readonly<Record<string, unknown>>;
}
interface Answer {
  readonly model_version: string;
  readonly parameters?: { readonly drover_parameters: string };
}
interface DeviceView {
  readonly models: readonly {
    readonly model: string;
    readonly running?: { readonly release: { readonly version: string; readonly digest: string } };
    readonly lastOutcome?: { readonly outcome: string; readonly error?: { readonly code: string } };
  }[];
}

/** Everything is real: command line, control plane, broker, publisher's keys; two devices run the real agent in this process. */
describe('when parameters are released', () => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-parameters-'));
  const key = join(folder, 'publisher.key');
  let controlPlane: ControlPlaneProcess;
  const devices = new Map<string, VirtualDevice>();

  async function drover<Result>(...args: string[]): Promise<Result> {
    const options = { environment: administratorOf(controlPlane), cwd: folder };
    return JSON.parse(await runDrover(['--json', ...args], options)) as Result;
  }
  const endpoint = (site: string) => `${devices.get(site)?.endpoint() ?? ''}/v2/models/gas-classifier`;
  const valuesAt = async (site: string): Promise<Values | undefined> => {
    const answer = await fetch(`${endpoint(site)}/parameters`);
    return answer.ok ? ((await answer.json()) as Values) : undefined;
  };
  const infer = async (site: string): Promise<Answer> => {
    const inputs = [{ name: 'features', datatype: 'FP32', shape: [1, 4], data: [1, 2, 3, 4] }];
    const answer = await fetch(`${endpoint(site)}/infer`, { method: 'POST', body: JSON.stringify({ inputs }) });
    return (await answer.json()) as Answer;
  };
  const lineOf = async (id: string) =>
    (await controlPlane.operator.get<DeviceView>(`/api/v1/devices/${id}`)).models.find(
      ({ model }) => model === 'gas-classifier--parameters',
    );
  const waitFor = <Found>(what: string, look: () => Promise<Found | undefined>) =>
    until(look, { what, timeoutMs: 25_000, everyMs: 50, signal });

  function write(threshold: { hall: number; yard: number }): string {
    const file = join(folder, 'gas-classifier.parameters.json');
    const document = {
      model: 'gas-classifier',
      compatible: '^1.0.0',
      parameters: {
        threshold: { type: 'number', minimum: 0, maximum: 1, default: 0.5 },
        'belt.speed': { type: 'number', unit: 'm/s', minimum: 0, maximum: 3, default: 1 },
      },
      sites: { hall: { threshold: threshold.hall }, yard: { threshold: threshold.yard } },
    };
    writeFileSync(file, JSON.stringify(document));
    return file;
  }
  const publish = (file: string, version: string, ...more: string[]) =>
    drover<{ digest: string }>('parameters', 'publish', file, '--version', version, '--key', key, ...more);
  /** A probation that lasts only ends early: by what an application says in it. */
  async function rollOut(release: string, probation: 'brief' | 'lasting', ...more: string[]): Promise<string> {
    const files = ['--gate', join(folder, 'gate.json'), '--probation', join(folder, `${probation}.json`)];
    const { id } = await drover<{ id: string }>('rollout', 'create', release, '--judge', 'failures', ...files, ...more);
    return id;
  }
  const stateOf = async (id: string) =>
    (await controlPlane.operator.get<{ state: string }>(`/api/v1/rollouts/${id}`)).state;
  const untilState = (id: string, state: string) =>
    waitFor(`the rollout to be ${state}`, async () => ((await stateOf(id)) === state ? state : undefined));

  beforeAll(async () => {
    const failureShare = { acceptable: 0.05, unacceptable: 0.5 };
    writeFileSync(
      join(folder, 'gate.json'),
      JSON.stringify({ minSoakMs: 0, timeoutMs: 60_000, alpha: 0.1, beta: 0.1, failureShare }),
    );
    writeFileSync(join(folder, 'brief.json'), JSON.stringify({ minMs: 400, maxMs: 800 }));
    writeFileSync(join(folder, 'lasting.json'), JSON.stringify({ minMs: 20_000, maxMs: 40_000 }));
    controlPlane = await startControlPlane({ dataDir: join(folder, 'control-plane'), httpPort: 0, mqttPort: 0 });
    const pinnedRoot = await openRepository(drover, {
      folder,
      key,
      families: ['gas-classifier', 'gas-classifier--parameters'],
    });
    for (const [site, id] of Object.entries(SITES)) {
      const claimToken = await createClaimToken(controlPlane.operator, { attributes: { site } });
      devices.set(
        site,
        await startVirtualDevice({
          deviceId: DeviceId(id),
          dataDir: join(folder, id),
          controlPlaneUrl: controlPlane.httpUrl,
          claimToken,
          pinnedRoot,
          hardwareClass: 'x86-cpu',
          // The claim token knows better, and its word has to reach the device.
          attributes: { site: 'somewhere' },
          telemetryIntervalMs: 300,
          clock: systemClock,
          host: fakeHost(seededRandom(1)),
        }),
      );
    }
    const net = join(folder, 'net.onnx');
    writeFileSync(net, buildDenseClassifier({ features: 4, hidden: [4], classes: 2, seed: 1 }));
    const task = ['--task', 'tensors', '--key', key];
    for (const version of ['1.0.0', '2.0.0'])
      await drover('model', 'publish', net, '--model', 'gas-classifier', '--version', version, ...task);
    await untilState(await rollOut('gas-classifier@1.0.0', 'brief', '--stages', 'all:100%'), 'completed');
  }, 120_000);
  afterAll(async () => {
    for (const device of devices.values()) await device.close();
    await controlPlane.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('shows before anything is signed what each site would get, and refuses what is beyond its bounds', async () => {
    const dry = await publish(write({ hall: 0.8, yard: 0.2 }), '1.0.0', '--dry-run');
    expect(dry).toMatchObject({
      sites: [
        { values: { threshold: 0.5, 'belt.speed': 1 } },
        { site: 'hall', values: { threshold: 0.8 } },
        { site: 'yard', values: { threshold: 0.2 } },
      ],
    });
    const wrong = publish(write({ hall: 8, yard: 0.2 }), '1.0.0');
    await expect(wrong).rejects.toMatchObject({ stdout: expect.stringContaining('must be at most 1') as string });
  });

  it('gives each device the values of its site, from canary to all, and says which are in force', async () => {
    const { digest } = await publish(write({ hall: 0.8, yard: 0.2 }), '1.0.0');
    const id = await rollOut('gas-classifier--parameters@1.0.0', 'brief', '--stages', 'canary:1,all:100%');
    await untilState(id, 'completed');
    expect(await valuesAt('hall')).toMatchObject({ site: 'hall', digest, values: { threshold: 0.8, 'belt.speed': 1 } });
    expect(await valuesAt('yard')).toMatchObject({ site: 'yard', digest, values: { threshold: 0.2 } });
    expect(await infer('hall')).toMatchObject({ model_version: '1.0.0', parameters: { drover_parameters: '1.0.0' } });
    expect((await lineOf(SITES.hall))?.running?.release.digest).toBe(digest);
    const file = join(folder, SITES.yard, 'parameters', 'gas-classifier.json');
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(await valuesAt('yard'));
  });

  it('when an application at one site refuses the values, both sites are back on those before, by signed orders', async () => {
    await publish(write({ hall: 0.9, yard: 0.1 }), '1.1.0');
    const shown = await drover('parameters', 'show', 'gas-classifier@1.1.0');
    expect(shown).toMatchObject({
      against: '1.0.0',
      sites: [
        { devices: 0, changes: [] },
        { site: 'hall', devices: 1, changes: [{ name: 'threshold', before: 0.8, after: 0.9 }] },
        { site: 'yard', devices: 1, changes: [{ name: 'threshold', before: 0.2, after: 0.1 }] },
      ],
    });
    const id = await rollOut('gas-classifier--parameters@1.1.0', 'lasting', '--stages', 'all:100%');
    const bad = await waitFor('the new values in the yard', async () => {
      const values = await valuesAt('yard');
      return values?.version === '1.1.0' ? values : undefined;
    });
    const refused = await fetch(`${endpoint('yard')}/parameters/rejection`, {
      method: 'POST',
      body: JSON.stringify({ digest: bad.digest, reason: 'nothing passes the camera any more' }),
    });
    expect(refused.status).toBe(202);
    await untilState(id, 'reverted');
    expect(await valuesAt('hall')).toMatchObject({ version: '1.0.0', values: { threshold: 0.8 } });
    expect(await valuesAt('yard')).toMatchObject({ version: '1.0.0', values: { threshold: 0.2 } });
    const yard = await waitFor('the outcome in the yard', async () => {
      const line = await lineOf(SITES.yard);
      return line?.running?.release.version === '1.0.0' ? line : undefined;
    });
    expect(yard.running?.release.version).toBe('1.0.0');
    expect(await infer('hall')).toMatchObject({ parameters: { drover_parameters: '1.0.0' } });
  });

  it('when a model would leave them behind, the rollout is refused; when that is wanted, applications get none', async () => {
    const refused = rollOut('gas-classifier@2.0.0', 'brief', '--stages', 'all:100%');
    await expect(refused).rejects.toMatchObject({
      stdout: expect.stringContaining('ROLLOUT_PARAMETERS_INCOMPATIBLE') as string,
    });
    await untilState(
      await rollOut('gas-classifier@2.0.0', 'brief', '--stages', 'all:100%', '--without-parameters'),
      'completed',
    );
    expect(await valuesAt('hall')).toBeUndefined();
    const answer = await infer('hall');
    expect(answer).toMatchObject({ model_version: '2.0.0' });
    expect(answer.parameters).toBeUndefined();
  });
});
