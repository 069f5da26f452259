import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock, type Clock } from '@drover/agent/host';
import { buildDenseClassifier } from '@drover/agent/learn';
import { DeviceId } from '@drover/shared/ids';
import { seededRandom } from '@drover/shared/statistics';
import {
  createClaimToken,
  fakeHost,
  rolloutByFailures,
  startControlPlane,
  startVirtualDevice,
  until,
  type ControlPlaneProcess,
  type VirtualDevice,
} from '../../src/fleet/index.js';
import { administratorOf, openRepository, runDrover } from '../drover-command.js';

const { signal } = new AbortController();
const DEVICE = 'lab-1';
const MODEL = 'gas-classifier';
const CLASSES = ['low', 'middle', 'high'];
/** The agent looks every ten seconds for what it may ask for. */
const LOOK_MS = 10_000;
const clock: Clock = { ...systemClock, sleep: (ms, ended) => systemClock.sleep(ms === LOOK_MS ? 200 : ms, ended) };

interface Request {
  readonly id: string;
  readonly deviceId: string;
  readonly site?: string;
  readonly requestId?: string;
  readonly prediction: { readonly index: number; readonly name?: string };
  readonly features?: readonly number[];
  readonly answer?: { readonly became: string; readonly by: string };
}

/** Everything is real: command line, control plane, broker, publisher's keys; one device runs the real agent in this process. */
describe('when a device asks for labels', () => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-fleet-labels-'));
  const key = join(folder, 'publisher.key');
  const random = seededRandom(11);
  let controlPlane: ControlPlaneProcess;
  let device: VirtualDevice | undefined;
  let pinnedRoot: Buffer;
  let labellerToken: string;

  async function drover<Result>(...args: string[]): Promise<Result> {
    const options = { environment: administratorOf(controlPlane), cwd: folder };
    return JSON.parse(await runDrover(['--json', ...args], options)) as Result;
  }
  async function asLabeller<Result>(...args: string[]): Promise<Result> {
    const environment = { ...administratorOf(controlPlane), DROVER_TOKEN: labellerToken };
    return JSON.parse(await runDrover(['--json', ...args], { environment, cwd: folder })) as Result;
  }
  const start = async (claimToken: string | undefined) => {
    device = await startVirtualDevice({
      deviceId: DeviceId(DEVICE),
      dataDir: join(folder, DEVICE),
      controlPlaneUrl: controlPlane.httpUrl,
      claimToken,
      pinnedRoot,
      hardwareClass: 'x86-cpu',
      attributes: {},
      telemetryIntervalMs: 300,
      clock,
      host: fakeHost(seededRandom(1)),
      labels: { perDay: 1_000, maxOpen: 20, driftFactor: 1, randomShare: 1, expireAfterDays: 2, sendFeatures: true },
    });
  };
  const infer = async (id: string): Promise<void> => {
    const data = Array.from({ length: 4 }, () => random.normal());
    const answer = await fetch(`${device?.endpoint() ?? ''}/v2/models/${MODEL}/infer`, {
      method: 'POST',
      body: JSON.stringify({ id, inputs: [{ name: 'features', datatype: 'FP32', shape: [1, 4], data }] }),
    });
    expect(answer.status).toBe(200);
    await answer.arrayBuffer();
  };
  const local = async (path: string, body?: object) => {
    const init = body ? { method: 'POST', body: JSON.stringify(body) } : {};
    const answer = await fetch(`${device?.endpoint() ?? ''}/v2/models/${MODEL}/${path}`, init);
    return (await answer.json()) as { became?: string; requests?: { id: string }[] };
  };
  const listed = async (state: 'open' | 'answered'): Promise<Request[]> =>
    (await controlPlane.operator.get<{ items: Request[] }>(`/api/v1/label-requests?state=${state}&device=${DEVICE}`))
      .items;
  const waitFor = <Found>(what: string, find: () => Promise<Found | undefined>) =>
    until(find, { what, timeoutMs: 60_000, everyMs: 100, signal });
  const untilBecame = (id: string, became: string) =>
    waitFor(`an answer to become ${became}`, async () =>
      (await listed('answered')).find((each) => each.id === id && each.answer?.became === became),
    );
  /** Serves until so many requests wait at the control plane. */
  const untilOpen = (count: number) =>
    waitFor(`${count} requests for labels`, async () => {
      await infer(`frame ${random.nextInt(1_000_000)}`);
      const open = await listed('open');
      return open.length >= count ? open : undefined;
    });

  beforeAll(async () => {
    controlPlane = await startControlPlane({ dataDir: join(folder, 'control-plane'), httpPort: 0, mqttPort: 0 });
    pinnedRoot = await openRepository(drover, { folder, key, families: [MODEL] });
    labellerToken = (await drover<{ token: string }>('token', 'create', '--name', 'ann', '--role', 'labeller')).token;
    await start(await createClaimToken(controlPlane.operator, { attributes: { site: 'lab' } }));
    const net = join(folder, 'net.onnx');
    writeFileSync(net, buildDenseClassifier({ features: 4, hidden: [8], classes: CLASSES.length, seed: 1 }));
    const task = ['--task', 'classification', '--scores', 'probabilities', '--labels', CLASSES.join(',')];
    await drover('model', 'publish', net, '--model', MODEL, '--version', '1.0.0', ...task, '--key', key);
    const order = rolloutByFailures({ model: MODEL, version: '1.0.0', devices: [DEVICE] });
    const { id } = await controlPlane.operator.send<{ id: string }>('POST', '/api/v1/rollouts', order);
    await waitFor('the rollout', async () => {
      const { state } = await controlPlane.operator.get<{ state: string }>(`/api/v1/rollouts/${id}`);
      return state === 'completed' ? state : undefined;
    });
  }, 180_000);
  afterAll(async () => {
    await device?.close();
    await controlPlane.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('a labeller sees them, and the answer is joined on the device, which says so', async () => {
    const [one] = await untilOpen(1);
    if (!one) throw new Error('nothing is asked for');
    expect(one).toMatchObject({ deviceId: DEVICE, site: 'lab' });
    expect(one.features).toHaveLength(4);
    expect(one.requestId).toMatch(/^frame \d+$/);
    expect(one.prediction.name).toBe(CLASSES[one.prediction.index]);
    const { items } = await asLabeller<{ items: Request[] }>('labels', 'list', '--site', 'lab');
    expect(items.map(({ id }) => id)).toContain(one.id);
    await asLabeller('labels', 'answer', one.id, 'high');
    expect((await untilBecame(one.id, 'joined')).answer).toMatchObject({ by: 'ann' });
    expect((await local('labels')).requests?.map(({ id }) => id)).not.toContain(one.id);
    expect(await local('labels/answers', { id: one.id, label: 'high' })).toMatchObject({ became: 'repeated' });
    const field = await controlPlane.operator.get<{ items: { labelled: number }[] }>(`/api/v1/models/${MODEL}/field`);
    expect(field.items).toMatchObject([{ labelled: 1 }]);
  }, 120_000);

  it('a device that is away gets its answers when it comes back', async () => {
    const [one] = await untilOpen(1);
    if (!one) throw new Error('nothing is asked for');
    await device?.close();
    device = undefined;
    const file = join(folder, 'answers.csv');
    writeFileSync(file, `id,label\n${one.id},\n`);
    expect(await asLabeller('labels', 'import', file)).toEqual({ taken: 1, refused: [] });
    expect((await listed('answered')).find(({ id }) => id === one.id)?.answer?.became).toBe('waiting');
    await start(undefined);
    await untilBecame(one.id, 'declined');
  }, 180_000);
});
