import { randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Type, type Static } from 'typebox';
import { seededRandom, type SeededRandom } from '@drover/shared/statistics';
import { startProcess, type StartedProcess } from '../../fleet/child-process.js';
import { operatorOf, type Operator } from '../../fleet/operator.js';
import { CatalogueJson, type KillPointCatalogue } from '../campaign/catalogue.js';
import type { KillPlan, LifeEvent } from '../device/plan.js';
import { createModelPool } from '../releases/model-pool.js';
import { createPublisher } from '../releases/releases.js';
import { bundled } from '../writes/bundle.js';
import { COMMANDS, type CommandContext } from './commands.js';
import { Ledger, type LedgerViolation } from './ledger.js';
import { observe } from './observe.js';
import type { ControlPlanePlan } from './preload.js';
import { ScriptedDevice } from './scripted-device.js';
import { TrialPublisher } from './trial-publisher.js';

const Count = Type.Integer({ minimum: 0 });

const ControlPlaneTally = Type.Object({
  kills: Count,
  lost: Count,
  repeated: Count,
  /** Lives that did not start, or whose records contradict themselves. */
  broken: Count,
});
export type ControlPlaneTally = Static<typeof ControlPlaneTally>;

export const SavedControlPlaneCampaign = Type.Object({ tally: ControlPlaneTally, catalogue: CatalogueJson });

export interface ControlPlaneOptions {
  readonly kills: number;
  readonly seed: number;
  readonly catalogue: KillPointCatalogue;
  readonly signal: AbortSignal;
  readonly maxViolations: number;
  /** Where an interrupted campaign was; it begins with a new control plane all the same. */
  readonly tally?: ControlPlaneTally;
  readonly onKill: (tally: ControlPlaneTally) => void;
  readonly onViolation: (violation: LedgerViolation) => void;
  /** See ControlPlanePlan. */
  readonly acknowledgesFirst?: boolean;
}

const COMMANDS_PER_LIFE = 10;
/** From the start to the end of the commands of a life. */
const WRITES_PER_LIFE = 1_500;
const RANDOM_SHARE = 0.3;
const ENOUGH_MISSES = 4;
const DEVICES = 2;
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

type Ready = StartedProcess<{ httpUrl: string; mqttUrl: string }>;

/**
 * Kills control planes at their writes while operators, publishers and devices are at work, and looks in the next life for all that was acknowledged,
 * for what is there twice, and for orders that contradict each other.
 */
export async function killControlPlanes(options: ControlPlaneOptions): Promise<ControlPlaneTally> {
  const { kills, catalogue, signal, maxViolations, onKill } = options;
  const random = seededRandom(options.seed).fork(`control plane ${options.tally?.kills ?? 0}`);
  const tally = { kills: 0, lost: 0, repeated: 0, broken: 0, ...options.tally };
  const found = (violation: LedgerViolation): void => {
    tally[violation.kind] += 1;
    options.onViolation(violation);
  };
  const root = await mkdtemp(join(tmpdir(), 'drover-chaos-'));
  const bundle = await bundledControlPlane();
  const adminToken = randomBytes(24).toString('base64url');
  const eventsFile = join(root, 'events');
  const ledger = new Ledger();
  const devices = Array.from({ length: DEVICES }, (_, index) => new ScriptedDevice(`trial-${index}`, ledger, found));
  const publisher = new TrialPublisher();
  const releases = createPublisher(await createModelPool());
  const blobs = new Set<string>();
  let names = 0;

  function start(kill?: KillPlan): Promise<Ready> {
    const { acknowledgesFirst = false } = options;
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
    const headers = { authorization: `Bearer ${adminToken}` };
    const hasBlob = async (hex: string): Promise<boolean> =>
      (await fetch(`${operator.url}/api/v1/blobs/${hex}`, { method: 'HEAD', headers })).ok;
    const fetchMetadata = async (file: string): Promise<Uint8Array | undefined> => {
      const response = await fetch(`${operator.url}/api/v1/repository/metadata/${file}`, { headers });
      return response.ok ? new Uint8Array(await response.arrayBuffer()) : undefined;
    };
    for (const violation of ledger.judge(await observe(operator, blobs, hasBlob))) found(violation);
    const problem = await publisher.look(operator, fetchMetadata);
    if (problem !== undefined) found({ kind: 'broken', what: problem });
  }

  const next = (): number => (names += 1);
  const contextOf = (operator: Operator): CommandContext => {
    return { operator, ledger, random, releases, publisher, devices, next, blobs };
  };
  async function work(operator: Operator, mqttUrl: string): Promise<void> {
    for (const device of devices) await device.connect(mqttUrl);
    const all = Object.values(COMMANDS);
    for (let each = 0; each < COMMANDS_PER_LIFE && !signal.aborted; each += 1)
      await all[random.nextInt(all.length)]?.(contextOf(operator));
  }

  const violations = (): number => tally.lost + tally.repeated + tally.broken;
  const isOver = (): boolean => signal.aborted || violations() >= maxViolations;
  try {
    // Enrolled and published once, undisturbed: what is tried is how it goes on.
    const first = await start();
    try {
      const founder = operatorOf(first.ready.httpUrl, adminToken);
      for (const device of devices) await device.enrol(founder);
      await publisher.begin(founder);
      await COMMANDS.release(contextOf(founder));
    } finally {
      await first.stop();
    }
    while (tally.kills < kills && !isOver()) {
      const kill = chooseKill(catalogue, random);
      let child: Ready | undefined;
      let failure: Error | undefined;
      try {
        child = await start(kill);
        const operator = operatorOf(child.ready.httpUrl, adminToken);
        await check(operator);
        await work(operator, child.ready.mqttUrl);
      } catch (error) {
        // A killed process breaks the connection, or never becomes ready; anything else is found below.
        failure = error as Error;
      }
      for (const device of devices) await device.disconnect();
      await (failure ? child?.kill() : child?.stop());
      const events = readEvents(eventsFile);
      const killed = events.find((event) => event.event === 'killed');
      for (const event of events) if (event.event === 'passed') catalogue.notePassed(event.moments);
      if (kill.at === 'unreached') catalogue.noteSearch('first', killed !== undefined);
      if (killed?.event === 'killed') {
        tally.kills += 1;
        catalogue.noteKill(killed.moment);
      } else if (failure && !signal.aborted) {
        found({
          kind: 'broken',
          what: `a life failed without being killed: ${failure.message}\n${child?.lastLines()}`,
        });
        break;
      }
      onKill(tally);
    }
    if (isOver()) return tally;
    const last = await start();
    try {
      await check(operatorOf(last.ready.httpUrl, adminToken));
    } finally {
      await last.stop();
    }
    return tally;
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

function chooseKill(catalogue: KillPointCatalogue, random: SeededRandom): KillPlan {
  const anywhere = { at: 'write', occurrence: 1 + random.nextInt(WRITES_PER_LIFE) } as const;
  if (random.next() < RANDOM_SHARE) return { ...anywhere, fromStep: 0 };
  const phase = random.next() < 0.5 ? ('before' as const) : ('after' as const);
  if (catalogue.missesOf('first') < ENOUGH_MISSES)
    return { at: 'unreached', reached: catalogue.reachedPoints(), skip: random.nextInt(40), phase, fromStep: 0 };
  return { ...(catalogue.leastKilledMoment(() => true, random) ?? anywhere), fromStep: 0 };
}

function readEvents(file: string): LifeEvent[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as LifeEvent);
}
