import { createHash } from 'node:crypto';
import type { Operator } from '../../fleet/operator.js';
import { TRIAL_MODEL } from '../releases/releases.js';
import type { Kind, Observation } from './ledger.js';

interface AuditEntry {
  readonly sequence: number;
  readonly action: string;
  readonly detail: { readonly name?: string; readonly release?: string };
  readonly subject: string;
}
interface Report {
  readonly id: number;
  readonly deviceId: string;
  readonly sequence: number;
  readonly body: unknown;
}
const PAGE = 1000;

/** Asks a control plane for all that commands may have left there. `blobs`: digests to look for, since there is no list of them. */
export async function observe(
  operator: Operator,
  blobs: Iterable<string>,
  hasBlob: (hex: string) => Promise<boolean>,
): Promise<Observation> {
  const items = async <Item>(path: string): Promise<Item[]> => (await operator.get<{ items: Item[] }>(path)).items;
  async function pages<Item>(path: string, last: (item: Item) => number): Promise<Item[]> {
    const all: Item[] = [];
    for (;;) {
      const after = all.length === 0 ? 0 : last(all.at(-1) as Item);
      const page = await items<Item>(`${path}?after=${after}&limit=${PAGE}`);
      all.push(...page);
      if (page.length < PAGE) return all;
    }
  }
  const tokens = await items<{ name: string }>('/api/v1/tokens');
  const releases = await items<{ version: string }>(`/api/v1/models/${TRIAL_MODEL}/releases`);
  const rollouts = await items<{ state: string; release: { version: string } }>('/api/v1/rollouts');
  const devices = await items<{ id: string }>('/api/v1/devices');
  const keys = await items<{ keyId: string }>('/api/v1/repository/online-keys');
  const reports = await pages<Report>('/api/v1/reports', ({ id }) => id);
  const audit = await pages<AuditEntry>('/api/v1/audit', ({ sequence }) => sequence);
  const { intact } = await operator.get<{ intact: boolean }>('/api/v1/audit/verification');
  const present: string[] = [];
  for (const hex of blobs) if (await hasBlob(hex)) present.push(hex);
  const things = new Map<Kind, string[]>([
    ['token', tokens.map(({ name }) => name)],
    ['blob', present],
    ['release', releases.map(({ version }) => version)],
    ['rollout', rollouts.map(({ release }) => release.version)],
    ['device', devices.map(({ id }) => id)],
    ['online key', keys.map(({ keyId }) => keyId)],
    ['report', reports.map(({ deviceId, sequence, body }) => `${deviceId} ${sequence} ${digestOfBody(body)}`)],
    [
      'audit entry',
      audit.map(({ action, subject, detail }) => `${action} ${detail.name ?? detail.release ?? subject}`),
    ],
  ]);
  const rolloutStates = new Map(rollouts.map(({ state, release }) => [release.version, state]));
  return { things, rolloutStates, isAuditIntact: intact };
}

const digestOfBody = (body: unknown): string =>
  createHash('sha256').update(JSON.stringify(body)).digest('hex').slice(0, 12);
