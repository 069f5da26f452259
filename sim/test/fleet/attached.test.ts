import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildDenseClassifier } from '@drover/agent/learn';
import { InferenceSession, Tensor } from '@drover/agent/onnxruntime';
import { DeviceId } from '@drover/shared/ids';
import { seededRandom } from '@drover/shared/statistics';
import {
  createClaimToken,
  startAttachedAgentProcess,
  startControlPlane,
  until,
  type AttachedAgentProcess,
  type ControlPlaneProcess,
} from '../../src/fleet/index.js';
import { administratorOf, openRepository, runDrover } from '../drover-command.js';
import { startAttachedApplication, type AttachedApplication } from './attached-application.js';

const { signal } = new AbortController();
const DEVICE = 'pipeline-1';
const MODEL = 'gas-classifier';
const CLASSES = ['low', 'middle', 'high'];
const WINDOW = 20;
/** Requests that end a probation. */
const ENOUGH = 10;
const FAILING = '1.1.0';
const SICKENING = '1.2.0';
const WORSE = '1.3.0';

type Rows = readonly (readonly number[])[];
interface DeviceView {
  readonly models: readonly {
    readonly model: string;
    readonly running?: {
      readonly release: { readonly version: string };
      readonly loaded: string;
      readonly provider: { readonly actual: string };
    };
    readonly update: { readonly state: string };
    readonly lastOutcome?: { readonly outcome: string; readonly error?: { readonly code: string } };
  }[];
}
interface ReportView<Body> {
  readonly deviceId: string;
  readonly body: Body;
}

/** Everything is real: command line, control plane, broker, keys, the agent with its processes, and an application with a runtime of its own. */
describe('when an application runs its model itself', () => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-attached-'));
  const key = join(folder, 'publisher.key');
  const path = join(folder, 'models', MODEL);
  const random = seededRandom(7);
  const normalRows = (count: number, shift = 0): Rows =>
    Array.from({ length: count }, () => Array.from({ length: 4 }, () => random.normal() + shift));
  let controlPlane: ControlPlaneProcess;
  let agent: AttachedAgentProcess;
  let application: AttachedApplication;
  let asked = 0;

  async function drover<Result>(...args: string[]): Promise<Result> {
    const options = { environment: administratorOf(controlPlane), cwd: folder };
    return JSON.parse(await runDrover(['--json', ...args], options)) as Result;
  }
  const waitFor = <Found>(what: string, find: () => Promise<Found | undefined> | Found | undefined) =>
    until(find, { what, timeoutMs: 60_000, everyMs: 50, signal, state: () => agent.lastLines() });
  const write = (name: string, content: string | Uint8Array): string => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const json = (name: string, value: unknown) => write(`${name}.json`, JSON.stringify(value));
  const csv = (name: string, rows: Rows, labels?: readonly string[]) =>
    write(
      `${name}.csv`,
      [
        `a,b,c,d${labels ? ',label' : ''}`,
        ...rows.map((row, index) => [...row, ...(labels ? [labels[index]] : [])].join(',')),
      ].join('\n'),
    );

  const ask = (rows: Rows, labels?: readonly number[]): void => {
    asked += 1;
    application.ask({ id: `request-${asked}`, rows, ...(labels && { labels }) });
  };
  const askEnough = (): void => normalRows(ENOUGH).forEach((row) => ask([row]));
  const model = async () =>
    (await controlPlane.operator.get<DeviceView>(`/api/v1/devices/${DEVICE}`)).models.find(
      (each) => each.model === MODEL,
    );
  const untilProbation = (version: string) =>
    waitFor(`the probation of ${version}`, async () => {
      const found = await model();
      return found?.update.state === 'probation' && found.running?.release.version === version ? found : undefined;
    });
  const untilOutcome = (outcome: string, code?: string) =>
    waitFor(`the outcome ${outcome} ${code ?? ''}`, async () => {
      const found = await model();
      if (found?.update.state !== 'idle' || found.lastOutcome?.outcome !== outcome) return undefined;
      return found.lastOutcome.error?.code === code ? found : undefined;
    });
  const linkedVersion = () =>
    (JSON.parse(readFileSync(join(path, 'release.json'), 'utf8')) as { version: string }).version;
  const loads = () => application.told.filter(({ event }) => event === 'loaded').map(({ version }) => version);

  const seedOf = (version: string) => Number(version.split('.')[1]) + 1;
  const netOf = (version: string) =>
    buildDenseClassifier({ features: 4, hidden: [8], classes: CLASSES.length, seed: seedOf(version) });
  const publish = (version: string, ...more: string[]) =>
    drover(
      ...['model', 'publish', write(`net-${version}.onnx`, netOf(version)), '--model', MODEL, '--version', version],
      ...['--task', 'classification', '--scores', 'probabilities', '--labels', CLASSES.join(','), '--key', key],
      ...more,
    );
  async function classesBy(version: string, rows: Rows): Promise<number[]> {
    const session = await InferenceSession.create(netOf(version), { intraOpNumThreads: 1 });
    const features = new Tensor('float32', Float32Array.from(rows.flat()), [rows.length, 4]);
    const { probabilities } = await session.run({ features });
    await session.release();
    const scores = [...(probabilities?.data as Float32Array)];
    return rows.map((_, row) => {
      const own = scores.slice(row * CLASSES.length, (row + 1) * CLASSES.length);
      return own.indexOf(Math.max(...own));
    });
  }
  const rollOut = async (version: string, judge: 'failures' | 'accuracy'): Promise<string> => {
    const files = ['--gate', join(folder, 'gate.json'), '--probation', join(folder, 'probation.json')];
    const how = ['--judge', judge, ...files, '--stages', 'all:100%'];
    return (await drover<{ id: string }>('rollout', 'create', `${MODEL}@${version}`, ...how)).id;
  };
  const stateOf = async (id: string) =>
    (await controlPlane.operator.get<{ state: string }>(`/api/v1/rollouts/${id}`)).state;
  const untilRollout = (id: string, ...states: string[]) =>
    waitFor(`the rollout to be ${states.join(' or ')}`, async () => {
      const state = await stateOf(id);
      return states.includes(state) ? state : undefined;
    });

  beforeAll(async () => {
    json('gate', {
      ...{ minSoakMs: 0, timeoutMs: 60_000, alpha: 0.1, beta: 0.1 },
      ...{ acceptableDrop: 0.05, unacceptableDrop: 0.3, failureShare: { acceptable: 0.05, unacceptable: 0.5 } },
    });
    const bounds = { maxFailureShare: 0.1, maxCrashes: 1 };
    json('probation', { minMs: 200, minRequests: ENOUGH, maxMs: 60_000, ...bounds });
    controlPlane = await startControlPlane({ dataDir: join(folder, 'control-plane'), httpPort: 0, mqttPort: 0 });
    const pinnedRoot = await openRepository(drover, { folder, key, families: [MODEL] });

    const dataDir = join(folder, DEVICE);
    const pidFile = join(folder, 'application.pid');
    const socket = join(folder, 'observe.sock');
    const troubles = { failing: FAILING, sickening: SICKENING };
    application = await startAttachedApplication({ socket, path, model: MODEL, pidFile, ...troubles });
    agent = await startAttachedAgentProcess(
      {
        deviceId: DeviceId(DEVICE),
        site: 'lab',
        dataDir,
        controlPlaneUrl: controlPlane.httpUrl,
        claimToken: await createClaimToken(controlPlane.operator, { attributes: { site: 'lab' } }),
        pinnedRoot,
        telemetryIntervalMs: 300,
      },
      {
        socket,
        models: {
          [MODEL]: {
            path,
            reload: { signal: 'SIGHUP', pidFile },
            health: { http: application.healthUrl, intervalMs: 200, failures: 2 },
          },
        },
      },
    );
    const samples = ['--samples', csv('normal', normalRows(400)), '--window', String(WINDOW), '--confirm-windows', '1'];
    const rules = [{ rule: 'range', column: 'a', max: 5 }];
    const contract = json('contract', {
      action: 'reject',
      inputs: [{ name: 'features', features: [...'abcd'], rules }],
    });
    await publish('1.0.0', ...samples, '--contract', contract);
    for (const version of [FAILING, SICKENING]) await publish(version, ...samples);
    const heldOut = normalRows(200);
    const right = (await classesBy(WORSE, heldOut)).map((index) => CLASSES[index] ?? '');
    await publish(WORSE, ...samples, '--held-out', csv('held-out', heldOut, right));
  }, 180_000);
  afterAll(async () => {
    await agent.close();
    await application.stop();
    await controlPlane.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('carries a signed order out: files, link, hook, health, and a probation by what it observes', async () => {
    const id = await rollOut('1.0.0', 'failures');
    const tried = await untilProbation('1.0.0');
    expect(tried.running?.provider.actual).toBe('pipeline');
    expect(readFileSync(join(path, 'digest'), 'utf8').trim()).toBe(tried.running?.loaded);
    expect(loads()).toEqual(['1.0.0']);
    askEnough();
    await untilRollout(id, 'completed');
    await untilOutcome('committed');
    const { items } = await controlPlane.operator.get<{ items: ReportView<{ to: string }>[] }>(
      `/api/v1/reports?kind=transition&device=${DEVICE}`,
    );
    expect(items.map(({ body }) => body.to)).toEqual(expect.arrayContaining(['probation', 'committing', 'idle']));
  }, 120_000);

  it('goes back by itself where it reports failures, and the control plane hears why', async () => {
    const id = await rollOut(FAILING, 'failures');
    await untilProbation(FAILING);
    askEnough();
    const ended = await untilOutcome('fell-back', 'PROBATION_FAILURES');
    expect(ended.running?.release.version).toBe('1.0.0');
    expect(linkedVersion()).toBe('1.0.0');
    expect(loads()).toEqual(['1.0.0', FAILING, '1.0.0']);
    expect(await untilRollout(id, 'halted', 'reverted')).not.toBe('completed');
  }, 120_000);

  it('goes back by itself where its health check fails', async () => {
    await rollOut(SICKENING, 'failures');
    await untilProbation(SICKENING);
    ask(normalRows(1));
    const ended = await untilOutcome('fell-back', 'PROBATION_CRASHED');
    expect(ended.running?.release.version).toBe('1.0.0');
    expect(loads().slice(-2)).toEqual([SICKENING, '1.0.0']);
  }, 120_000);

  it('raises the alarm when the inputs that it observes drift', async () => {
    type Drift = ReportView<{ status: string; windowSize: number; release: { version: string } }>;
    const drifts = async () =>
      (await controlPlane.operator.get<{ items: Drift[] }>('/api/v1/reports?kind=drift')).items;
    expect(await drifts()).toEqual([]);
    for (let window = 0; window < 3; window++) ask(normalRows(WINDOW, 5));
    const [alarm] = await waitFor('the alarm', async () => {
      const found = await drifts();
      return found.length > 0 ? found : undefined;
    });
    expect(alarm).toMatchObject({
      deviceId: DEVICE,
      body: { status: 'raised', windowSize: WINDOW, release: { version: '1.0.0' } },
    });
  }, 120_000);

  it('has what it ran on inputs beyond the contract counted, and nothing refused', async () => {
    interface Inputs {
      readonly release: { readonly version: string };
      readonly rows: number;
      readonly refusedRequests: number;
      readonly rules: readonly { readonly feature: string; readonly rows: number }[];
    }
    ask([
      [9, 0, 0, 0],
      [0, 9, 0, 0],
    ]);
    const found = await waitFor('the rows that broke the contract', async () => {
      const { items } = await drover<{ items: Inputs[] }>('model', 'inputs', MODEL);
      const first = items.find(({ release }) => release.version === '1.0.0');
      // The windows that drifted, what the probation asked before, and these.
      return first?.rows === ENOUGH + 3 * WINDOW + 2 ? first : undefined;
    });
    expect(found).toMatchObject({ refusedRequests: 0, rules: [{ feature: 'a' }] });
    expect(found.rules[0]?.rows).toBeGreaterThan(WINDOW);
  }, 120_000);

  it('has its ground truth counted by the gate, which sends a release back that is wrong in the field', async () => {
    const id = await rollOut(WORSE, 'accuracy');
    await untilProbation(WORSE);
    const rows = normalRows(10);
    const wrong = (await classesBy(WORSE, rows)).map((right) => (right + 1) % CLASSES.length);
    await waitFor('the rollout to be reverted', async () => {
      if ((await stateOf(id)) === 'reverted') return true;
      ask(rows, wrong);
      return undefined;
    });
    const { items } = await controlPlane.operator.get<{
      items: { release: { version: string }; labelled: number; correct: number; failures: number }[];
    }>(`/api/v1/models/${MODEL}/field`);
    const worse = items.find(({ release }) => release.version === WORSE);
    expect(worse).toMatchObject({ correct: 0, failures: 0 });
    expect(worse?.labelled).toBeGreaterThanOrEqual(10);
    expect((await untilOutcome('committed')).running?.release.version).toBe('1.0.0');
    expect(linkedVersion()).toBe('1.0.0');
    expect(application.told.filter(({ type }) => type === 'error')).toEqual([]);
  }, 120_000);

  it('is found running again when the agent was killed and started', async () => {
    type State = ReportView<DeviceView> & { readonly receivedAt: number };
    const before = loads();
    await agent.kill();
    const killedAtMs = Date.now();
    await agent.start();
    await waitFor('its release to be reported by the next life', async () => {
      const { items } = await controlPlane.operator.get<{ items: State[] }>('/api/v1/reports?kind=state&limit=500');
      return items.find(({ receivedAt, body }) => {
        const found = body.models.find((each) => each.model === MODEL);
        return receivedAt > killedAtMs && found?.running?.release.version === '1.0.0' ? found : undefined;
      });
    });
    expect(loads()).toEqual(before);
  }, 120_000);
});
