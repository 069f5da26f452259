import { randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SeededRandom } from '@drover/shared/statistics';
import { startProcess, type StartedProcess } from '../../fleet/child-process.js';
import { operatorOf, type Operator } from '../../fleet/operator.js';
import type { KillPlan, LifeEvent } from '../device/plan.js';
import type { ModelPool } from '../releases/model-pool.js';
import { createPublisher } from '../releases/releases.js';
import { bundled } from '../writes/bundle.js';
import { COMMANDS, type CommandContext } from './commands.js';
import { Ledger, type LedgerViolation } from './ledger.js';
import { observe } from './observe.js';
import { OrderBook } from './order-book.js';
import type { ControlPlanePlan } from './preload.js';
import { ScriptedDevice } from './scripted-device.js';
import { TrialPublisher } from './trial-publisher.js';

const COMMANDS_PER_LIFE = 10;
const DEVICES = 2;
/** As the control plane names the token of its configuration. */
const ADMINISTRATOR = 'administrator (configuration)';
const SIM = join(fileURLToPath(import.meta.resolve('@drover/sim/package.json')), '..');
const PRELOAD = join(SIM, 'dist/chaos/control-plane/preload.js');

/** It reads its version from the folder above its own. What has files of its own, and the broker, a part of which a trial may replace, stay apart. */
async function bundledControlPlane(): Promise<string> {
  const folder = join(SIM, 'dist/chaos/bundled/control-plane');
  mkdirSync(folder, { recursive: true });
  const manifest = fileURLToPath(import.meta.resolve('@drover/control-plane/package.json'));
  copyFileSync(manifest, join(folder, 'package.json'));
  const outfile = 'sim/dist/chaos/bundled/control-plane/dist/main.mjs';
  return bundled({ entry: 'control-plane/dist/main.js', outfile, external: ['aedes', '@fastify/swagger-ui'] });
}

type Started = StartedProcess<{ httpUrl: string; mqttUrl: string }>;

export interface PlantOptions {
  readonly pool: ModelPool;
  readonly random: SeededRandom;
  readonly signal: AbortSignal;
  readonly onViolation: (violation: LedgerViolation) => void;
  readonly acknowledgesFirst: boolean;
}

/** How one life went. `failure` without `killed`: it did not start, or an answer was wrong. */
export interface ControlPlaneLife {
  readonly killed?: string;
  readonly passed: readonly Readonly<Record<string, number>>[];
  readonly failure?: { readonly error: Error; readonly lastLines: string };
}

export interface Plant {
  /** Starts the control plane, judges what it has, and works on it until it is killed or all is done. */
  live(kill: KillPlan): Promise<ControlPlaneLife>;
  /** The last look, undisturbed. */
  inspect(): Promise<void>;
  close(): Promise<void>;
}

/** One control plane from its first start on, with its devices, publishers and operators, and with the ledger of what they asked. */
export async function openPlant({
  pool,
  random,
  signal,
  onViolation,
  acknowledgesFirst,
}: PlantOptions): Promise<Plant> {
  const bundle = await bundledControlPlane();
  const root = await mkdtemp(join(tmpdir(), 'drover-chaos-'));
  const adminToken = randomBytes(24).toString('base64url');
  const eventsFile = join(root, 'events');
  const ledger = new Ledger();
  const orders = new OrderBook();
  const devices = Array.from(
    { length: DEVICES },
    (_, index) => new ScriptedDevice({ id: `trial-${index}`, ledger, orders, onViolation }),
  );
  const publisher = new TrialPublisher(ledger);
  const releases = createPublisher(pool);
  const blobs = new Map<string, number>();
  let names = 0;

  function start(kill?: KillPlan): Promise<Started> {
    const plan: ControlPlanePlan = { bundle, eventsFile, acknowledgesFirst, ...(kill ? { kill } : {}) };
    rmSync(eventsFile, { force: true });
    return startProcess({
      name: 'The control plane',
      script: bundle,
      args: ['--json-ready'],
      nodeFlags: ['--import', PRELOAD],
      environment: {
        CHAOS_PLAN: JSON.stringify(plan),
        DROVER_DATA_DIR: join(root, 'data'),
        DROVER_HTTP_PORT: '0',
        DROVER_MQTT_PORT: '0',
        DROVER_ADMIN_TOKEN: adminToken,
        DROVER_LOG_LEVEL: 'warn',
      },
    });
  }

  /** All that was acknowledged before has to be there, before anything new is asked. */
  async function check(operator: Operator): Promise<void> {
    const ask = async (path: string, method = 'GET'): Promise<Response | undefined> => {
      const headers = { authorization: `Bearer ${adminToken}` };
      const response = await fetch(`${operator.url}/api/v1/${path}`, { method, headers });
      if (response.status === 404) return undefined;
      if (!response.ok) throw new Error(`${path} was answered ${response.status}`);
      return response;
    };
    const hasBlob = async (hex: string): Promise<boolean> =>
      Number((await ask(`blobs/${hex}`, 'HEAD'))?.headers.get('content-length')) === blobs.get(hex);
    const fetchMetadata = async (file: string): Promise<Uint8Array | undefined> => {
      const response = await ask(`repository/metadata/${file}`);
      return response && new Uint8Array(await response.arrayBuffer());
    };
    for (const violation of ledger.judge(await observe(operator, blobs.keys(), hasBlob))) onViolation(violation);
    const problem = await publisher.look(operator, fetchMetadata);
    if (problem !== undefined) onViolation({ kind: 'broken', what: problem });
  }

  const next = (): number => (names += 1);
  const contextOf = (operator: Operator): CommandContext => {
    return { operator, ledger, orders, onViolation, random, releases, publisher, devices, next, blobs, signal };
  };
  async function work(operator: Operator, mqttUrl: string): Promise<void> {
    for (const device of devices) await device.connect(mqttUrl);
    const all = Object.values(COMMANDS);
    for (let each = 0; each < COMMANDS_PER_LIFE && !signal.aborted; each += 1)
      await all[random.nextInt(all.length)]?.(contextOf(operator));
  }

  async function undisturbed(act: (operator: Operator) => Promise<unknown>): Promise<void> {
    const started = await start();
    try {
      await act(operatorOf(started.ready.httpUrl, adminToken));
    } finally {
      await started.stop();
    }
  }

  async function live(kill: KillPlan): Promise<ControlPlaneLife> {
    let child: Started | undefined;
    let error: Error | undefined;
    try {
      child = await start(kill);
      const operator = operatorOf(child.ready.httpUrl, adminToken);
      await check(operator);
      await work(operator, child.ready.mqttUrl);
    } catch (thrown) {
      // A killed process breaks the connection, or never becomes ready; whether it was killed, its events tell.
      error = thrown as Error;
    }
    for (const device of devices) await device.disconnect();
    await (error ? child?.kill() : child?.stop());
    const events = readEvents(eventsFile);
    const killed = events.find((event) => event.event === 'killed');
    return {
      ...(killed?.event === 'killed' ? { killed: killed.moment } : {}),
      passed: events.flatMap((event) => (event.event === 'passed' ? [event.moments] : [])),
      ...(error ? { failure: { error, lastLines: child?.lastLines() ?? '' } } : {}),
    };
  }

  const close = (): Promise<void> => rm(root, { recursive: true, force: true });
  try {
    // Enrolled and published once, undisturbed: what is tried is how it goes on.
    await undisturbed(async (founder) => {
      ledger.acknowledge({ kind: 'token', name: ADMINISTRATOR });
      for (const device of devices) await device.enrol(founder);
      const [first] = (await founder.get<{ items: { keyId: string }[] }>('/api/v1/repository/online-keys')).items;
      if (first) ledger.acknowledge({ kind: 'online key', name: first.keyId });
      await publisher.begin(founder);
      await COMMANDS.release(contextOf(founder));
    });
  } catch (error) {
    await close();
    throw error;
  }
  return { live, inspect: () => undisturbed(check), close };
}

function readEvents(file: string): LifeEvent[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as LifeEvent);
}
