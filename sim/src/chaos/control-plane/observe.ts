import { createHash } from 'node:crypto';
import type { Operator } from '../../fleet/operator.js';
import { TRIAL_MODEL } from '../releases/releases.js';
import type { Kind, Observation } from './ledger.js';
import type { RolloutState } from './steering.js';

interface AuditEntry {
  readonly sequence: number;
  readonly actor: string;
  readonly action: string;
  readonly detail: { readonly name?: string; readonly release?: string; readonly deviceId?: string };
  readonly subject: string;
}
interface Report {
  readonly deviceId: string;
  readonly sequence: number;
  readonly body: unknown;
}

const PAGE = 1_000;
/** Rollouts that a control plane lists at most: the newest. */
const MAX_ROLLOUTS = 1_000;
/** What a control plane notes by itself where devices and rollouts go their way. Anything else, a lost history for one, is not of this trial. */
const OWN_ACTIONS: ReadonlySet<string> = new Set([
  'token.create',
  'rollout.halt',
  'rollout.complete',
  'rollout.confirm',
]);

/** Asks a control plane for all that commands may have left there. `blobs`: digests to look for, since there is no list of them. */
export async function observe(
  operator: Operator,
  blobs: Iterable<string>,
  hasBlob: (hex: string) => Promise<boolean>,
): Promise<Observation> {
  async function all<Item>(path: string): Promise<Item[]> {
    const found: Item[] = [];
    let from = '';
    for (;;) {
      const page = await operator.get<{ items: Item[]; next?: string | number }>(`${path}?limit=${PAGE}${from}`);
      found.push(...page.items);
      if (page.next === undefined) return found;
      from = `&after=${page.next}`;
    }
  }
  const tokens = await all<{ name: string }>('/api/v1/tokens');
  const releases = await all<{ version: string }>(`/api/v1/models/${TRIAL_MODEL}/releases`);
  const rollouts = await all<{ state: RolloutState; release: { version: string } }>('/api/v1/rollouts');
  if (rollouts.length >= MAX_ROLLOUTS) throw new Error('There are more rollouts than the control plane lists.');
  const devices = await all<{ id: string }>('/api/v1/devices');
  const { roles } = await operator.get<{ roles: { role: string; version: number }[] }>('/api/v1/repository');
  const roots = roles.find(({ role }) => role === 'root')?.version ?? 0;
  const keys = await all<{ keyId: string }>('/api/v1/repository/online-keys');
  const reports = await all<Report>('/api/v1/reports');
  const audit = await all<AuditEntry>('/api/v1/audit');
  const { intact } = await operator.get<{ intact: boolean }>('/api/v1/audit/verification');
  const present: string[] = [];
  for (const hex of blobs) if (await hasBlob(hex)) present.push(hex);
  const things = new Map<Kind, string[]>([
    ['token', tokens.map(({ name }) => name)],
    ['blob', present],
    ['root', Array.from({ length: roots }, (_, index) => `${index + 1}`)],
    ['release', releases.map(({ version }) => version)],
    ['rollout', rollouts.map(({ release }) => release.version)],
    ['device', devices.map(({ id }) => id)],
    ['online key', keys.map(({ keyId }) => keyId)],
    ['report', reports.map(({ deviceId, sequence, body }) => `${deviceId} ${sequence} ${digestOfBody(body)}`)],
    [
      'audit entry',
      audit.filter(({ actor, action }) => actor !== 'control-plane' || !OWN_ACTIONS.has(action)).map(nameOf),
    ],
  ]);
  const rolloutStates = new Map(rollouts.map(({ state, release }) => [release.version, state]));
  return { things, rolloutStates, isAuditIntact: intact };
}

const nameOf = ({ action, subject, detail }: AuditEntry): string =>
  `${action} ${detail.name ?? detail.deviceId ?? detail.release ?? subject}`;

const digestOfBody = (body: unknown): string =>
  createHash('sha256').update(JSON.stringify(body)).digest('hex').slice(0, 12);
