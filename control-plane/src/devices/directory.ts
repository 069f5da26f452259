import type { DeviceId } from '@drover/shared/ids';
import type { KeySet } from '@drover/shared/trust';
import type { Db } from '../database/index.js';
import type { DeviceStateTable } from '../telemetry/tables.js';
import { matchesHash } from '../governance/index.js';
import { DeviceError } from './errors.js';
import { revoked } from './revocation.js';
import { refuseEmpty, type Selector } from './selector.js';
import type { DeviceTable } from './tables.js';
import { takenKinds } from './taken-kinds.js';

export interface Device {
  readonly id: DeviceId;
  readonly hardwareClass: string;
  /** By its newest signed report; before its first one, by its enrolment. */
  readonly agentVersion: string;
  /** Kinds of releases that it can carry out, and parts of manifests that it reads, by its newest signed report. */
  readonly takes: string[];
  readonly attributes: Readonly<Record<string, string>>;
  /** Milliseconds since 1970. */
  readonly enrolledAt: number;
  /** Milliseconds since 1970; absent until the device was heard after its enrolment. */
  readonly lastSeenAt?: number;
  readonly connected: boolean;
  /** Present on a device that is not believed any more. */
  readonly revoked?: { readonly at: number; readonly by: string; readonly reason: string };
}

/** SQLite takes at most 32766 bound values in one statement. */
const MAX_BOUND_VALUES = 10_000;

/** The enrolled devices: who they are, how they prove it, and when they were last heard. */
export function deviceDirectory(db: Db) {
  return {
    /** Devices that meet the selector, ordered by id. @throws DeviceError SELECTOR_EMPTY */
    async find(selector: Selector, page: { after?: string; limit?: number } = {}): Promise<Device[]> {
      refuseEmpty(selector);
      let query = db.selectFrom('devices').selectAll('devices').orderBy('devices.id');
      if (page.after !== undefined) query = query.where('devices.id', '>', page.after as DeviceId);
      if (page.limit !== undefined) query = query.limit(page.limit);
      if (selector.devices) query = query.where('devices.id', 'in', selector.devices);
      for (const [name, value] of Object.entries(selector.attributes ?? {})) {
        query = query.where((where) =>
          where.exists(
            where
              .selectFrom('device_attributes')
              .select('device_attributes.name')
              .whereRef('device_attributes.device_id', '=', 'devices.id')
              .where('device_attributes.name', '=', name)
              .where('device_attributes.value', '=', value),
          ),
        );
      }
      return withAttributes(db, await query.execute());
    },

    /** @throws DeviceError DEVICE_UNKNOWN */
    async get(id: DeviceId): Promise<Device> {
      const [device] = await withAttributes(db, [await rowOf(db, id)]);
      if (!device) throw unknown(id);
      return device;
    },

    /** The key that this device's reports must be signed with. @throws DeviceError DEVICE_UNKNOWN, DEVICE_REVOKED */
    async publicKeyOf(id: DeviceId): Promise<KeySet> {
      const { key_id: keyId, public_key: publicKey, revoked_at: revokedAt } = await rowOf(db, id);
      if (revokedAt !== null) throw revoked(id);
      return { threshold: 1, keys: [{ keyId, algorithm: 'ed25519', publicKey }] };
    },

    /** The device, if the credential is its own: for HTTP Basic and for the broker. Both come from the network, hence plain strings. */
    authenticate: (id: string, credential: string) => authenticateDevice(db, id, credential),

    /** Notes that a device was heard. Unknown ids change nothing. */
    async touch(id: DeviceId, { connected, lastSeenAt }: { connected?: boolean; lastSeenAt: number }): Promise<void> {
      await db
        .updateTable('devices')
        .set({ last_seen_at: lastSeenAt, ...(connected === undefined ? {} : { connected: connected ? 1 : 0 }) })
        .where('id', '=', id)
        .execute();
    },

    /** After a start nobody is connected, whatever the last run wrote. */
    async forgetConnections(): Promise<void> {
      await db.updateTable('devices').set({ connected: 0 }).where('connected', '=', 1).execute();
    },

    async connected(): Promise<DeviceId[]> {
      const rows = await db.selectFrom('devices').select('id').where('connected', '=', 1).orderBy('id').execute();
      return rows.map(({ id }) => id);
    },

    async countByConnection(): Promise<{ connected: number; disconnected: number }> {
      const rows = await db
        .selectFrom('devices')
        .select(({ fn }) => ['connected', fn.countAll<number | string>().as('devices')])
        .groupBy('connected')
        .execute();
      const count = (connected: 0 | 1) => Number(rows.find((row) => row.connected === connected)?.devices ?? 0);
      return { connected: count(1), disconnected: count(0) };
    },
  };
}
export type DeviceDirectory = ReturnType<typeof deviceDirectory>;

export async function authenticateDevice(
  db: Db,
  id: string,
  credential: string,
): Promise<{ id: DeviceId } | undefined> {
  const row = await db
    .selectFrom('devices')
    .select(['id', 'credential_hash'])
    .where('id', '=', id as DeviceId)
    .where('revoked_at', 'is', null)
    .executeTakeFirst();
  return row && matchesHash(credential, row.credential_hash) ? { id: row.id } : undefined;
}

const unknown = (id: DeviceId) =>
  new DeviceError('DEVICE_UNKNOWN', `No device with the id "${id}" has enrolled.`, {
    remedy: 'Look for its id in `drover device list`, or enrol it with a claim token (`drover device token create`).',
  });

async function rowOf(db: Db, id: DeviceId): Promise<DeviceTable> {
  const row = await db.selectFrom('devices').selectAll().where('id', '=', id).executeTakeFirst();
  if (!row) throw unknown(id);
  return row;
}

async function withAttributes(db: Db, rows: readonly DeviceTable[]): Promise<Device[]> {
  const attributes = new Map<DeviceId, Record<string, string>>(rows.map(({ id }) => [id, {}]));
  for (let start = 0; start < rows.length; start += MAX_BOUND_VALUES) {
    const ids = rows.slice(start, start + MAX_BOUND_VALUES).map(({ id }) => id);
    const found = await db
      .selectFrom('device_attributes')
      .selectAll()
      .where('device_id', 'in', ids)
      .orderBy('name')
      .execute();
    for (const { device_id, name, value } of found) {
      const own = attributes.get(device_id);
      if (own) own[name] = value;
    }
  }
  const said = await reportedAgents(db, [...attributes.keys()]);
  return rows.map((row) => ({
    id: row.id,
    hardwareClass: row.hardware_class,
    agentVersion: said.get(row.id)?.agent_version ?? row.agent_version,
    takes: takenKinds(said.get(row.id)?.takes),
    attributes: attributes.get(row.id) ?? {},
    enrolledAt: row.enrolled_at,
    ...(row.last_seen_at === null ? {} : { lastSeenAt: row.last_seen_at }),
    connected: row.connected === 1,
    ...(row.revoked_at === null
      ? {}
      : { revoked: { at: row.revoked_at, by: row.revoked_by ?? '', reason: row.revocation_reason ?? '' } }),
  }));
}

type ReportedAgent = Pick<DeviceStateTable, 'device_id' | 'agent_version' | 'takes'>;

async function reportedAgents(db: Db, ids: readonly DeviceId[]): Promise<Map<DeviceId, ReportedAgent>> {
  const agents = new Map<DeviceId, ReportedAgent>();
  for (let start = 0; start < ids.length; start += MAX_BOUND_VALUES) {
    const found = await db
      .selectFrom('device_states')
      .select(['device_id', 'agent_version', 'takes'])
      .where('device_id', 'in', ids.slice(start, start + MAX_BOUND_VALUES))
      .execute();
    for (const agent of found) agents.set(agent.device_id, agent);
  }
  return agents;
}
