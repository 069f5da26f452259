import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
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
const DEVICES = { lab: 'lab-1', field: 'field-1' } as const;
type Site = keyof typeof DEVICES;

interface Answer {
  readonly model_version: string;
  readonly outputs: readonly { readonly name: string; readonly data: readonly number[] }[];
}
interface Trial {
  readonly id: string;
  readonly state: string;
  readonly comparison: {
    readonly outcomes: { readonly compared: number; readonly answered: number };
    readonly agreement?: { readonly measure: string; readonly mean: number; readonly compared: number };
  };
  readonly members: readonly { readonly device: string; readonly state: string }[];
}

/** Everything is real: command line, control plane, broker, publisher's keys; two devices run the real agent in this process. */
describe('when a release is tried in a fleet', () => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-trials-'));
  const key = join(folder, 'publisher.key');
  const random = seededRandom(7);
  const inputs = Array.from({ length: 40 }, () => Array.from({ length: 4 }, () => random.normal()));
  let controlPlane: ControlPlaneProcess;
  let served: Answer[];
  const devices = new Map<Site, VirtualDevice>();

  async function drover<Result>(...args: string[]): Promise<Result> {
    const options = { environment: administratorOf(controlPlane), cwd: folder };
    return JSON.parse(await runDrover(['--json', ...args], options)) as Result;
  }
  const infer = async (site: Site, data: readonly number[], id = 'request'): Promise<Answer> => {
    const answer = await fetch(`${devices.get(site)?.endpoint() ?? ''}/v2/models/gas-classifier/infer`, {
      method: 'POST',
      body: JSON.stringify({ id, inputs: [{ name: 'features', datatype: 'FP32', shape: [1, 4], data }] }),
    });
    expect(answer.status).toBe(200);
    return (await answer.json()) as Answer;
  };
  const inferAll = async (site: Site): Promise<Answer[]> => {
    const answers: Answer[] = [];
    for (const data of inputs) answers.push(await infer(site, data));
    return answers;
  };
  const classOf = ({ outputs }: Answer): number => {
    const scores = outputs.find(({ name }) => name === 'probabilities')?.data ?? [];
    return scores.indexOf(Math.max(...scores));
  };
  const look = (id: string) => controlPlane.operator.get<Trial>(`/api/v1/trials/${id}`);
  const waitFor = <Found>(what: string, find: () => Promise<Found | undefined>) =>
    until(find, { what, timeoutMs: 25_000, everyMs: 50, signal });
  const untilMember = (id: string, state: string) =>
    waitFor(`the trial to be ${state}`, async () => {
      const trial = await look(id);
      return trial.members.every((member) => member.state === state) ? trial : undefined;
    });

  beforeAll(async () => {
    const failureShare = { acceptable: 0.05, unacceptable: 0.5 };
    writeFileSync(
      join(folder, 'gate.json'),
      JSON.stringify({ minSoakMs: 0, timeoutMs: 60_000, alpha: 0.1, beta: 0.1, failureShare }),
    );
    writeFileSync(join(folder, 'brief.json'), JSON.stringify({ minMs: 400, maxMs: 800 }));
    controlPlane = await startControlPlane({ dataDir: join(folder, 'control-plane'), httpPort: 0, mqttPort: 0 });
    const pinnedRoot = await openRepository(drover, { folder, key, families: ['gas-classifier'] });
    for (const [site, id] of Object.entries(DEVICES) as [Site, string][]) {
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
          attributes: {},
          telemetryIntervalMs: 300,
          clock: systemClock,
          host: fakeHost(seededRandom(1)),
        }),
      );
    }
    for (const [seed, version] of ['1.0.0', '1.1.0'].entries()) {
      const net = join(folder, `net-${version}.onnx`);
      writeFileSync(net, buildDenseClassifier({ features: 4, hidden: [8], classes: 3, seed: seed + 1 }));
      const task = [
        '--task',
        'classification',
        '--scores',
        'probabilities',
        '--labels',
        'low,middle,high',
        '--key',
        key,
      ];
      await drover('model', 'publish', net, '--model', 'gas-classifier', '--version', version, ...task);
    }
    const files = ['--gate', join(folder, 'gate.json'), '--probation', join(folder, 'brief.json')];
    const rollout = ['--judge', 'failures', ...files, '--stages', 'all:100%'];
    const { id } = await drover<{ id: string }>('rollout', 'create', 'gas-classifier@1.0.0', ...rollout);
    await waitFor('the rollout', async () => {
      const { state } = await controlPlane.operator.get<{ state: string }>(`/api/v1/rollouts/${id}`);
      return state === 'completed' ? state : undefined;
    });
    served = await inferAll('lab');
  }, 120_000);
  afterAll(async () => {
    for (const device of devices.values()) await device.close();
    await controlPlane.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('in the shadow, changes no answer, and says how far it disagrees; ended, answers nothing', async () => {
    const started = ['gas-classifier@1.1.0', '--mode', 'shadow', '--share', '100%', '--selector', 'site=lab'];
    const { id } = await drover<Trial>('trial', 'start', ...started);
    await untilMember(id, 'running');
    // One after the other: few requests may meet a run of the candidate, and on a busy machine a run may take long.
    let found: Trial | undefined;
    for (const [index, data] of inputs.slice(0, 6).entries()) {
      expect(await infer('lab', data)).toEqual(served[index]);
      found = await waitFor('what was compared', async () => {
        const trial = await look(id);
        return trial.comparison.outcomes.compared > index ? trial : undefined;
      });
    }
    expect(await inferAll('lab')).toEqual(served);
    if (!found) throw new Error('nothing was compared');
    expect(await drover('trial', 'show', id)).toMatchObject({ id, state: 'running' });
    expect(found.comparison.agreement).toMatchObject({ measure: 'same-class' });
    expect(found.comparison.agreement?.mean).toBeLessThan(0.95);
    expect(found.members.map(({ device }) => device)).toEqual([DEVICES.lab]);
    await drover('trial', 'end', id);
    await untilMember(id, 'over');
    expect(await inferAll('lab')).toEqual(served);
  }, 120_000);

  it('split, answers its share under its own version, and the other site goes on as it was', async () => {
    const started = ['gas-classifier@1.1.0', '--mode', 'split', '--share', '0.5', '--device', DEVICES.field];
    const { id } = await drover<Trial>('trial', 'start', ...started);
    await untilMember(id, 'running');
    const answers: Answer[] = [];
    for (const [index, data] of inputs.entries()) answers.push(await infer('field', data, `request ${index}`));
    const byVersion = (version: string) => answers.filter((answer) => answer.model_version === version);
    expect(byVersion('1.0.0').length + byVersion('1.1.0').length).toBe(inputs.length);
    expect(Math.min(byVersion('1.0.0').length, byVersion('1.1.0').length)).toBeGreaterThan(5);
    for (const [index, answer] of answers.entries())
      if (answer.model_version === '1.0.0') expect(classOf(answer)).toBe(classOf(served[index] as Answer));
    expect((await inferAll('lab')).every((answer) => answer.model_version === '1.0.0')).toBe(true);
    const found = await waitFor('what it answered', async () => {
      const trial = await look(id);
      return trial.comparison.outcomes.answered === byVersion('1.1.0').length ? trial : undefined;
    });
    expect(found.state).toBe('running');
    await drover('trial', 'end', id);
    await untilMember(id, 'over');
    expect((await inferAll('field')).every((answer) => answer.model_version === '1.0.0')).toBe(true);
  });

  it('and it runs somewhere already, is refused', async () => {
    const started = ['gas-classifier@1.1.0', '--mode', 'shadow', '--device', DEVICES.lab];
    const { id } = await drover<Trial>('trial', 'start', ...started);
    await expect(drover('trial', 'start', ...started)).rejects.toMatchObject({
      stdout: expect.stringContaining('TRIAL_OVERLAP') as string,
    });
    await drover('trial', 'end', id);
  });
});
