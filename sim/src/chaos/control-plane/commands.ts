import { createHash } from 'node:crypto';
import type { SeededRandom } from '@drover/shared/statistics';
import { digestHex } from '@drover/shared/ids';
import { SimulationError } from '../../fleet/errors.js';
import type { Operator } from '../../fleet/operator.js';
import { rolloutByFailures } from '../../fleet/operator-requests.js';
import { until } from '../../fleet/wait.js';
import { TRIAL_MODEL, type Publisher, type PublishedRelease } from '../releases/releases.js';
import type { Ledger, LedgerViolation, Thing } from './ledger.js';
import type { OrderBook } from './order-book.js';
import { ScriptedDevice } from './scripted-device.js';
import { isActive, type RolloutState } from './steering.js';
import type { TrialPublisher } from './trial-publisher.js';

export interface CommandContext {
  readonly operator: Operator;
  readonly ledger: Ledger;
  readonly random: SeededRandom;
  readonly releases: Publisher;
  readonly publisher: TrialPublisher;
  readonly devices: readonly ScriptedDevice[];
  /** A new name or number each time. */
  readonly next: () => number;
  readonly orders: OrderBook;
  readonly onViolation: (violation: LedgerViolation) => void;
  /** Sizes of blobs that were uploaded, by digest. */
  readonly blobs: Map<string, number>;
  readonly signal: AbortSignal;
}

const END_TIMEOUT_MS = 20_000;

type Command = (context: CommandContext) => Promise<void>;

/** All that operators, publishers and devices ask of a control plane. Each notes in the ledger what was asked, and then what was acknowledged. */
export const COMMANDS = {
  token: async ({ operator, ledger, next, random }) => {
    const name = `trial ${next()}`;
    const token = { kind: 'token', name, entries: [`token.create ${name}`] } as const;
    ledger.give(token);
    const { id } = await operator.send<{ id: string }>('POST', '/api/v1/tokens', { name, role: 'viewer' });
    ledger.acknowledge(token);
    if (random.next() < 0.5) return;
    const removal = { kind: 'token', name, entries: [`token.delete ${name}`] } as const;
    ledger.giveRemoval(removal);
    await operator.send('DELETE', `/api/v1/tokens/${id}`);
    ledger.acknowledgeRemoval(removal);
  },
  blob: async (context) => {
    const bytes = Buffer.from(`blob ${context.next()} `.repeat(2_000));
    await upload(context, createHash('sha256').update(bytes).digest('hex'), bytes);
  },
  release: async (context) => {
    await publish(context);
  },
  rollout: async (context) => {
    const { operator, ledger, signal } = context;
    await endActive(context);
    // A device is in one rollout at a time, and what is reverted ends when its devices have said so.
    const areAllOver = async () => ((await activeRollouts(operator)).length === 0 ? true : undefined);
    await until(areAllOver, { what: 'rollouts to end', timeoutMs: END_TIMEOUT_MS, everyMs: 50, signal });
    const { release } = await publish(context);
    const { version } = release;
    const rollout: Thing = { kind: 'rollout', name: version };
    const creation = { to: 'running', entry: `rollout.create ${TRIAL_MODEL}@${version}` } as const;
    ledger.give(rollout);
    ledger.giveSteering(version, creation);
    const { id } = await operator.send<{ id: string }>('POST', '/api/v1/rollouts', rolloutOf(version, context.devices));
    ledger.acknowledge(rollout);
    ledger.acknowledgeSteering(version, creation);
    if (await steer(context, { id, version, event: 'pause' })) await steer(context, { id, version, event: 'resume' });
  },
  end: endActive,
  report: async ({ devices }) => {
    for (const device of devices) await device.reportState();
  },
  enrolment: async ({ operator, ledger, orders, onViolation, next }) => {
    // It is never connected: what it stands for is its registration.
    await new ScriptedDevice({ id: `extra-${next()}`, ledger, orders, onViolation }).enrol(operator);
  },
  'online key': async ({ operator, ledger, publisher, random }) => {
    const action = 'repository.online-key.create';
    ledger.giveUnnamed('online key');
    ledger.giveUnnamed('audit entry', `${action} `);
    const { keyId } = await operator.send<{ keyId: string }>('POST', '/api/v1/repository/online-keys');
    ledger.acknowledgeUnnamed('online key', keyId);
    ledger.acknowledgeUnnamed('audit entry', `${action} ${keyId}`);
    if (random.next() < 0.5) await publisher.replaceOnlineKey(operator);
  },
} satisfies Record<string, Command>;

async function upload({ operator, ledger, blobs }: CommandContext, hex: string, bytes: Uint8Array): Promise<void> {
  const blob = { kind: 'blob', name: hex } as const;
  ledger.give(blob);
  blobs.set(hex, bytes.length);
  await operator.putBlob(hex, bytes);
  ledger.acknowledge(blob);
}

async function publish(context: CommandContext): Promise<PublishedRelease> {
  const { operator, releases, publisher, next } = context;
  const published = releases.publish(next());
  for (const [digest, bytes] of published.files) await upload(context, digestHex(digest), bytes);
  await upload(context, digestHex(published.release.digest), published.manifestBytes);
  await publisher.publish(operator, published);
  return published;
}

const rolloutOf = (version: string, devices: readonly ScriptedDevice[]) =>
  rolloutByFailures({
    model: TRIAL_MODEL,
    version,
    devices: devices.map(({ id }) => id),
    minSoakMs: 60_000,
    timeoutMs: 600_000,
    probation: { minMs: 1, maxMs: 60_000 },
  });

interface Rollout {
  readonly id: string;
  readonly state: RolloutState;
  readonly release: { readonly version: string };
}

async function activeRollouts(operator: Operator): Promise<Rollout[]> {
  const { items } = await operator.get<{ items: Rollout[] }>('/api/v1/rollouts');
  return items.filter(({ state }) => isActive(state));
}

async function endActive(context: CommandContext): Promise<void> {
  const { operator, random } = context;
  for (const { id, state, release } of await activeRollouts(operator)) {
    const reverts = state !== 'reverting' && random.next() < 0.4;
    await steer(context, { id, version: release.version, event: reverts ? 'revert' : 'abort' });
  }
}

const LEADS_TO = { pause: 'paused', resume: 'running', abort: 'aborted', revert: 'reverting' } as const;

/** @returns false where it had ended meanwhile, which is no failure */
async function steer(
  { operator, ledger }: CommandContext,
  { id, version, event }: { id: string; version: string; event: keyof typeof LEADS_TO },
): Promise<boolean> {
  const steering = { to: LEADS_TO[event], entry: `rollout.${event} ${id}` };
  ledger.giveSteering(version, steering);
  const isEnd = event === 'abort' || event === 'revert';
  const body = isEnd ? { revert: event === 'revert', reason: 'trial' } : undefined;
  try {
    await operator.send('POST', `/api/v1/rollouts/${id}/${isEnd ? 'abort' : event}`, body);
  } catch (error) {
    if (!(error instanceof SimulationError) || error.code !== 'CONTROL_PLANE_REFUSED') throw error;
    const { state } = await operator.get<Rollout>(`/api/v1/rollouts/${id}`);
    if (isActive(state)) throw error;
    ledger.refuseSteering(version);
    return false;
  }
  ledger.acknowledgeSteering(version, steering);
  return true;
}
