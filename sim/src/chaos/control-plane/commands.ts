import { createHash } from 'node:crypto';
import type { SeededRandom } from '@drover/shared/statistics';
import { digestHex } from '@drover/shared/ids';
import { SimulationError } from '../../fleet/errors.js';
import type { Operator } from '../../fleet/operator.js';
import { TRIAL_MODEL, type Publisher, type PublishedRelease } from '../releases/releases.js';
import type { Ledger, SteeredState } from './ledger.js';
import { ScriptedDevice } from './scripted-device.js';
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
  /** Digests of blobs that were uploaded. */
  readonly blobs: Set<string>;
}

type Command = (context: CommandContext) => Promise<void>;

/** All that operators, publishers and devices ask of a control plane. Each notes in the ledger what was asked, and then what was acknowledged. */
export const COMMANDS = {
  token: async ({ operator, ledger, next, random }) => {
    const name = `trial ${next()}`;
    ledger.give('token', name);
    ledger.give('audit entry', `token.create ${name}`);
    const { id } = await operator.send<{ id: string }>('POST', '/api/v1/tokens', { name, role: 'viewer' });
    ledger.acknowledge('token', name);
    ledger.acknowledge('audit entry', `token.create ${name}`);
    if (random.next() < 0.5) return;
    ledger.giveRemoval('token', name);
    ledger.give('audit entry', `token.delete ${name}`);
    await operator.send('DELETE', `/api/v1/tokens/${id}`);
    ledger.acknowledgeRemoval('token', name);
    ledger.acknowledge('audit entry', `token.delete ${name}`);
  },
  blob: async (context) => {
    const bytes = Buffer.from(`blob ${context.next()} `.repeat(2_000));
    await upload(context, createHash('sha256').update(bytes).digest('hex'), bytes);
  },
  release: async (context) => {
    await publish(context);
  },
  rollout: async (context) => {
    const { operator, ledger } = context;
    await endActive(context);
    const { release } = await publish(context);
    const version = release.version;
    ledger.give('rollout', version);
    ledger.give('audit entry', `rollout.create ${TRIAL_MODEL}@${version}`);
    const { id } = await operator.send<{ id: string }>('POST', '/api/v1/rollouts', rolloutOf(version, context.devices));
    ledger.acknowledge('rollout', version);
    ledger.acknowledge('audit entry', `rollout.create ${TRIAL_MODEL}@${version}`);
    ledger.acknowledgeSteering(version, 'running');
    if (await steer(context, { id, version, action: 'pause', to: 'paused' }))
      await steer(context, { id, version, action: 'resume', to: 'running' });
  },
  end: endActive,
  report: async ({ devices }) => {
    for (const device of devices) await device.reportState();
  },
  enrolment: async ({ operator, ledger, next }) => {
    // It is never connected: what it stands for is its registration.
    await new ScriptedDevice(`extra-${next()}`, ledger, () => undefined).enrol(operator);
  },
  'online key': async ({ operator, ledger, publisher, random }) => {
    const { keyId } = await operator.send<{ keyId: string }>('POST', '/api/v1/repository/online-keys');
    ledger.give('online key', keyId);
    ledger.acknowledge('online key', keyId);
    if (random.next() < 0.5) await publisher.replaceOnlineKey(operator);
  },
} satisfies Record<string, Command>;

async function upload({ operator, ledger, blobs }: CommandContext, hex: string, bytes: Uint8Array): Promise<void> {
  ledger.give('blob', hex);
  blobs.add(hex);
  await operator.putBlob(hex, bytes);
  ledger.acknowledge('blob', hex);
}

async function publish(context: CommandContext): Promise<PublishedRelease> {
  const { operator, ledger, releases, publisher, next } = context;
  const published = releases.publish(next());
  for (const [digest, bytes] of published.files) await upload(context, digestHex(digest), bytes);
  await upload(context, digestHex(published.release.digest), published.manifestBytes);
  const { version } = published.release;
  ledger.give('release', version);
  ledger.give('audit entry', `release.publish ${TRIAL_MODEL}@${version}`);
  await publisher.publish(operator, published);
  ledger.acknowledge('release', version);
  ledger.acknowledge('audit entry', `release.publish ${TRIAL_MODEL}@${version}`);
  return published;
}

const rolloutOf = (version: string, devices: readonly ScriptedDevice[]) => ({
  model: TRIAL_MODEL,
  version,
  selector: { devices: devices.map(({ id }) => id) },
  stages: [{ name: 'all', share: 1 }],
  gate: {
    metric: 'failures',
    acceptableDrop: 0.05,
    unacceptableDrop: 0.2,
    alpha: 0.01,
    beta: 0.05,
    minSoakMs: 60_000,
    timeoutMs: 600_000,
    failureShare: { acceptable: 0.05, unacceptable: 0.5 },
  },
  probation: { minMs: 1, minRequests: 0, maxMs: 60_000, maxFailureShare: 0.5, maxCrashes: 2 },
  autoRevert: false,
});

interface Rollout {
  readonly id: string;
  readonly state: string;
  readonly release: { readonly version: string };
}
const ACTIVE = new Set(['running', 'paused', 'halted', 'reverting']);

/** A device is in one rollout at a time. */
async function endActive(context: CommandContext): Promise<void> {
  const { operator, random } = context;
  const { items } = await operator.get<{ items: Rollout[] }>('/api/v1/rollouts');
  for (const { id, state, release } of items.filter((each) => ACTIVE.has(each.state))) {
    const reverts = state !== 'reverting' && random.next() < 0.4;
    await steer(context, { id, version: release.version, action: 'abort', to: reverts ? 'reverted' : 'aborted' });
  }
}

/** @returns false where it had ended meanwhile, which is no failure */
async function steer(
  { operator, ledger }: CommandContext,
  { id, version, action, to }: { id: string; version: string; action: string; to: SteeredState },
): Promise<boolean> {
  ledger.giveSteering(version, to);
  const body = action === 'abort' ? { revert: to === 'reverted', reason: 'trial' } : undefined;
  try {
    await operator.send('POST', `/api/v1/rollouts/${id}/${action}`, body);
  } catch (error) {
    if (!(error instanceof SimulationError) || error.code !== 'CONTROL_PLANE_REFUSED') throw error;
    const { state } = await operator.get<Rollout>(`/api/v1/rollouts/${id}`);
    if (ACTIVE.has(state)) throw error;
    return false;
  }
  ledger.acknowledgeSteering(version, to);
  return true;
}
