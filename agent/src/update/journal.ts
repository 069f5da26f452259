import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { CodedErrorJson } from '@drover/shared/coded-error';
import type { Digest, ModelName, Version } from '@drover/shared/ids';
import type { Deployment, RecoveryStatement, StateBody, UpdateState } from '@drover/shared/protocol';
import { openSqlite, toDatabaseError, type DatabaseError } from '../database/index.js';
import type { OrderNumber, ReleaseRef } from './accept.js';
import { JOURNAL_MIGRATIONS } from './journal-schema.js';
import { UpdateError } from './errors.js';
import { readMirror, toMirrored, writeMirror, type MirrorContent } from './journal-mirror.js';
import type { WriteGate } from './kill-points.js';
import { STATES } from './states.js';

export type LastOutcome = NonNullable<StateBody['models'][number]['lastOutcome']>;

/** What is known for good about one model. */
export interface ModelRecord {
  readonly accepted?: OrderNumber;
  readonly committed?: ReleaseRef;
  readonly previous?: ReleaseRef;
  /** Of the committed release. */
  readonly revertFloor?: Version;
  readonly adaptation?: { readonly digest: Digest };
  readonly lastOutcome?: LastOutcome;
  readonly pending?: Deployment;
}

/** The update in progress of one model. */
export interface UpdateRecord {
  readonly state: Exclude<UpdateState, 'idle'>;
  readonly deployment: Deployment;
  readonly activated: boolean;
  readonly interruptions: number;
  readonly closedOrderly: boolean;
  readonly error?: CodedErrorJson;
}

export interface TransitionRecord {
  readonly model: ModelName;
  readonly deployment: Deployment;
  readonly from: UpdateState;
  readonly to: UpdateState;
  readonly reason: string;
}

/** Everything that one transaction changes. `undefined` leaves a part as it is; `update: null` ends the update. */
export interface JournalChange {
  readonly model: ModelName;
  readonly record?: ModelRecord;
  readonly update?: UpdateRecord | null;
  readonly timeFloorMs?: number;
  readonly transition?: TransitionRecord;
}

/** What a root-signed statement has settled (docs/protocol.md, section 11). */
export type RecoveryFact = Pick<RecoveryStatement, 'epoch' | 'director'>;

export interface Journal {
  readonly models: ReadonlyMap<ModelName, ModelRecord>;
  readonly updates: ReadonlyMap<ModelName, UpdateRecord>;
  timeFloorMs(): number;
  /** undefined where this device has never been through a recovery. */
  recovery(): RecoveryFact | undefined;
  /** Commits the change with an fsync; what it returns from is on the disk. `name` is the kill point. */
  write(name: string, change: JournalChange): void;
  /** Commits a verified statement and the time that it vouches for. */
  writeRecovery(fact: RecoveryFact, timeFloorMs: number): void;
  close(): void;
}

export interface JournalOptions {
  readonly dataDir: string;
  readonly gate: WriteGate;
  readonly nowMs: () => number;
  /** The file was damaged and built anew, or had lost its last commits; what is known for good came from the mirror. */
  readonly onRebuilt: (error: DatabaseError | UpdateError) => void;
}

/** Names in the table `facts`. */
const TIME_FLOOR = 'time_floor_ms';
const RECOVERY = 'recovery';
const REVISION = 'revision';

/** Transitions that are kept for `drover-agent status`. */
const KEPT_TRANSITIONS = 1000;

/**
 * The update journal: SQLite with `synchronous=FULL`, read once at start and kept in memory. A file that was damaged, or that is older than the
 * mirror beside it, is mended from the mirror, so that neither the protection against replay nor the running release is lost with it. SQLite takes
 * a journal whose log is gone or damaged for a whole one (https://sqlite.org/wal.html, section 4.4), so both carry a revision.
 */
export function openJournal({ dataDir, gate, nowMs, onRebuilt }: JournalOptions): Journal {
  const file = join(dataDir, 'journal.db');
  let rebuilt: DatabaseError | undefined;
  const database = openSqlite({
    file,
    pragmas: { synchronous: 'FULL', cacheKiB: 256 },
    migrations: JOURNAL_MIGRATIONS,
    nowMs,
    onRebuilt: (error) => (rebuilt = error),
  });
  const putModel = database.prepare<ModelRow>(
    `INSERT INTO models (model, accepted, committed, previous, revert_floor, adaptation, last_outcome, pending)
     VALUES (@model, @accepted, @committed, @previous, @revertFloor, @adaptation, @lastOutcome, @pending)
     ON CONFLICT (model) DO UPDATE SET accepted = @accepted, committed = @committed, previous = @previous,
       revert_floor = @revertFloor, adaptation = @adaptation, last_outcome = @lastOutcome, pending = @pending`,
  );
  const putUpdate = database.prepare<UpdateRow>(
    `INSERT OR REPLACE INTO updates (model, state, deployment, activated, interruptions, closed_orderly, error)
     VALUES (@model, @state, @deployment, @activated, @interruptions, @closedOrderly, @error)`,
  );
  const endUpdate = database.prepare<[string]>('DELETE FROM updates WHERE model = ?');
  const putFact = database.prepare<[string, string]>('INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)');
  const putTransition = database.prepare<[number, string, string, string, string, string]>(
    'INSERT INTO transitions (at_ms, model, deployment_id, from_state, to_state, reason) VALUES (?, ?, ?, ?, ?, ?)',
  );
  const trimTransitions = database.prepare(
    `DELETE FROM transitions WHERE id <= (SELECT max(id) FROM transitions) - ${KEPT_TRANSITIONS}`,
  );

  const modelRows = database.prepare<[], ModelRow>(
    'SELECT model, accepted, committed, previous, revert_floor AS revertFloor, adaptation, last_outcome AS lastOutcome, pending FROM models',
  );
  const updateRows = database.prepare<[], UpdateRow>(
    'SELECT model, state, deployment, activated, interruptions, closed_orderly AS closedOrderly, error FROM updates',
  );
  const factRow = database.prepare<[string], { value: string }>('SELECT value FROM facts WHERE name = ?');
  const models = new Map(modelRows.all().map((row) => [row.model, toModelRecord(row)]));
  const updates = new Map(updateRows.all().map((row) => [row.model, toUpdateRecord(row)]));
  let timeFloorMs = Number(factRow.get(TIME_FLOOR)?.value ?? 0);
  let revision = Number(factRow.get(REVISION)?.value ?? 0);
  const recoveryText = factRow.get(RECOVERY)?.value;
  let recovery = recoveryText === undefined ? undefined : (JSON.parse(recoveryText) as RecoveryFact);

  const apply = (change: JournalChange) => {
    if (change.record) putModel.run(toModelRow(change.model, change.record));
    if (change.update) putUpdate.run(toUpdateRow(change.model, change.update));
    else if (change.update === null) endUpdate.run(change.model);
    if (change.timeFloorMs !== undefined) putFact.run(TIME_FLOOR, String(change.timeFloorMs));
    if (isMirrored(change)) putFact.run(REVISION, String(revision + 1));
    if (change.transition) {
      const { model, deployment, from, to, reason } = change.transition;
      putTransition.run(Math.trunc(nowMs()), model, deployment.deploymentId, from, to, reason);
      trimTransitions.run();
    }
  };
  const transact = database.transaction(apply);

  function write(name: string, change: JournalChange): void {
    gate.pass(`journal:${name}`);
    try {
      transact(change);
    } catch (error) {
      throw toDatabaseError(error, file);
    }
    if (change.record) models.set(change.model, change.record);
    if (change.update) updates.set(change.model, change.update);
    else if (change.update === null) updates.delete(change.model);
    timeFloorMs = change.timeFloorMs ?? timeFloorMs;
    if (isMirrored(change)) {
      revision += 1;
      gate.pass(`mirror:${name}`);
      writeMirror(dataDir, { revision, timeFloorMs, recovery, models });
    }
  }

  function writeRecovery(fact: RecoveryFact, floorMs: number): void {
    gate.pass('journal:recovery');
    try {
      database.transaction(() => {
        putFact.run(RECOVERY, JSON.stringify(fact));
        putFact.run(TIME_FLOOR, String(floorMs));
        putFact.run(REVISION, String(revision + 1));
      })();
    } catch (error) {
      throw toDatabaseError(error, file);
    }
    recovery = fact;
    timeFloorMs = floorMs;
    revision += 1;
    gate.pass('mirror:recovery');
    writeMirror(dataDir, { revision, timeFloorMs, recovery, models });
  }

  function mendFromMirror(mirror: MirrorContent): void {
    const changed = [...mirror.models].filter(
      ([model, record]) => !isDeepStrictEqual(toMirrored(models.get(model) ?? {}), record),
    );
    timeFloorMs = Math.max(timeFloorMs, mirror.timeFloorMs);
    recovery = mirror.recovery ?? recovery;
    ({ revision } = mirror);
    database.transaction(() => {
      putFact.run(TIME_FLOOR, String(timeFloorMs));
      putFact.run(REVISION, String(revision));
      if (recovery) putFact.run(RECOVERY, JSON.stringify(recovery));
      for (const [model, record] of changed) {
        putModel.run(toModelRow(model, record));
        // It belongs to an order that the device has long left behind.
        endUpdate.run(model);
      }
    })();
    for (const [model, record] of changed) {
      models.set(model, record);
      updates.delete(model);
    }
  }

  const mirror = readMirror(dataDir);
  const isBehind = mirror.revision > revision;
  if (isBehind) mendFromMirror(mirror);
  else if (mirror.revision < revision) writeMirror(dataDir, { revision, timeFloorMs, recovery, models });
  if (rebuilt) onRebuilt(rebuilt);
  else if (isBehind) onRebuilt(behind(file));

  return {
    models,
    updates,
    timeFloorMs: () => timeFloorMs,
    recovery: () => recovery,
    write,
    writeRecovery,
    close: () => database.close(),
  };
}

/** Does the mirror hold what this changes? */
const isMirrored = ({ record, timeFloorMs }: JournalChange): boolean =>
  record !== undefined || timeFloorMs !== undefined;

const behind = (file: string): UpdateError =>
  new UpdateError('UPDATE_JOURNAL_BEHIND', 'The update journal had lost its last entries; its mirror had them.', {
    where: file,
    remedy: 'Check the disk (smartctl, dmesg): what it had confirmed as written was not there.',
  });

interface ModelRow {
  readonly model: ModelName;
  readonly accepted: string | null;
  readonly committed: string | null;
  readonly previous: string | null;
  readonly revertFloor: string | null;
  readonly adaptation: string | null;
  readonly lastOutcome: string | null;
  readonly pending: string | null;
}
interface UpdateRow {
  readonly model: ModelName;
  readonly state: UpdateRecord['state'];
  readonly deployment: string;
  readonly activated: number;
  readonly interruptions: number;
  readonly closedOrderly: number;
  readonly error: string | null;
}

const json = (value: unknown): string | null => (value === undefined ? null : JSON.stringify(value));

/** Leaves out what is NULL. The texts are our own, written by `toModelRow` and `toUpdateRow` of this schema version. */
function parsed<Key extends string>(key: Key, text: string | null): Partial<Record<Key, never>> {
  return text === null ? {} : ({ [key]: JSON.parse(text) as unknown } as Partial<Record<Key, never>>);
}

const toModelRow = (model: ModelName, record: ModelRecord): ModelRow => ({
  model,
  accepted: json(record.accepted),
  committed: json(record.committed),
  previous: json(record.previous),
  revertFloor: json(record.revertFloor),
  adaptation: json(record.adaptation),
  lastOutcome: json(record.lastOutcome),
  pending: json(record.pending),
});
const toModelRecord = (row: ModelRow): ModelRecord => ({
  ...parsed('accepted', row.accepted),
  ...parsed('committed', row.committed),
  ...parsed('previous', row.previous),
  ...parsed('revertFloor', row.revertFloor),
  ...parsed('adaptation', row.adaptation),
  ...parsed('lastOutcome', row.lastOutcome),
  ...parsed('pending', row.pending),
});
const toUpdateRow = (model: ModelName, update: UpdateRecord): UpdateRow => ({
  model,
  state: update.state,
  deployment: JSON.stringify(update.deployment),
  activated: Number(update.activated),
  interruptions: update.interruptions,
  closedOrderly: Number(update.closedOrderly),
  error: json(update.error),
});
const toUpdateRecord = (row: UpdateRow): UpdateRecord => ({
  // A newer agent that was taken back may have been in a state that this one does not know: it takes back what was begun.
  state: Object.hasOwn(STATES, row.state) ? row.state : 'falling-back',
  deployment: JSON.parse(row.deployment) as Deployment,
  activated: row.activated === 1,
  interruptions: row.interruptions,
  closedOrderly: row.closedOrderly === 1,
  ...parsed('error', row.error),
});
