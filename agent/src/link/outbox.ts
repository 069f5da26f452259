import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { toCodedErrorJson } from '@drover/shared/coded-error';
import type { DeviceId } from '@drover/shared/ids';
import { signReport, type Report, type ReportBody, type ReportKind } from '@drover/shared/protocol';
import type { Signer } from '@drover/shared/trust';
import { openSqlite, toDatabaseError, type DatabaseError } from '../database/index.js';
import { BUILD_FLOOR_MS, type Clock } from '../host/index.js';
import { LinkError } from './errors.js';
import { openSequenceNumbers } from './sequence.js';
import { OUTBOX_MIGRATIONS } from './outbox-schema.js';

export interface OutboxOptions {
  /** Holds outbox.db and outbox-sequence. */
  readonly dataDir: string;
  readonly deviceId: DeviceId;
  readonly signer: Signer;
  readonly clock: Pick<Clock, 'now'>;
  /** Above these, telemetry goes, oldest first. At twice these, anything but the newest state goes. */
  readonly maxReports?: number;
  readonly maxBytes?: number;
}

export interface QueuedReport {
  readonly sequence: number;
  /** The signed envelope, ready to publish. */
  readonly bytes: Uint8Array;
}

/** What the link needs of the outbox. */
export interface ReportQueue {
  /** The oldest report that was not acknowledged. */
  head(): QueuedReport | undefined;
  /** Acknowledged by the broker: it will not be sent again. */
  remove(sequence: number): void;
  /** Calls back after each report that was added; returns the way to stop that. */
  onAdded(listener: () => void): () => void;
}

/** Reports that wait for the broker: persisted, signed, in order, bounded (docs/protocol.md, section 5). */
export interface Outbox extends ReportQueue {
  /**
   * Signs and stores a report. A state report replaces an older one that still waits, because only the latest state matters.
   *
   * @throws DatabaseError DATABASE_DISK_FULL, DATABASE_UNAVAILABLE; LinkError OUTBOX_REPORT_TOO_LARGE
   */
  enqueue<Kind extends ReportKind>(kind: Kind, body: ReportBody<Kind>): void;
  pending(): { reports: number; bytes: number; dropped: number };
  close(): void;
}

/** docs/protocol.md, section 2: no receiver reads a larger envelope. */
const MAX_REPORT_BYTES = 1024 * 1024;

/** Opens the outbox. A damaged file is rebuilt, and the incident is the first report in the new one. */
export function openOutbox(options: OutboxOptions): Outbox {
  const { dataDir, deviceId, signer, clock, maxReports = 5_000, maxBytes = 16 * 1024 ** 2 } = options;
  const file = join(dataDir, 'outbox.db');
  const isFirstStart = !existsSync(file);
  let rebuilt: DatabaseError | undefined;
  const database = openSqlite({
    file,
    pragmas: { synchronous: 'NORMAL', cacheKiB: 512 },
    migrations: OUTBOX_MIGRATIONS,
    nowMs: () => clock.now(),
    onRebuilt: (error) => (rebuilt = error),
  });
  const statements = {
    totals: database.prepare<[], { reports: number; bytes: number; highest: number | null }>(
      'SELECT count(*) AS reports, coalesce(sum(length(envelope)), 0) AS bytes, max(sequence) AS highest FROM reports',
    ),
    head: database.prepare<[], { sequence: number; kind: ReportKind; envelope: Buffer }>(
      'SELECT sequence, kind, envelope FROM reports ORDER BY sequence LIMIT 1',
    ),
    oldest: database.prepare<[ReportKind], Row>(
      'SELECT sequence, kind, length(envelope) AS bytes FROM reports WHERE kind = ? ORDER BY sequence LIMIT 1',
    ),
    oldestExpendable: database.prepare<[], Row>(
      "SELECT sequence, kind, length(envelope) AS bytes FROM reports WHERE kind <> 'state' ORDER BY sequence LIMIT 1",
    ),
    get: database.prepare<[number], Row>(
      'SELECT sequence, kind, length(envelope) AS bytes FROM reports WHERE sequence = ?',
    ),
    insert: database.prepare<[number, ReportKind, Uint8Array]>(
      'INSERT INTO reports (sequence, kind, envelope) VALUES (?, ?, ?)',
    ),
    remove: database.prepare<[number]>('DELETE FROM reports WHERE sequence = ?'),
    countDrop: database.prepare<[ReportKind]>(
      'INSERT INTO dropped (kind, reports) VALUES (?, 1) ON CONFLICT (kind) DO UPDATE SET reports = reports + 1',
    ),
    drops: database.prepare<[], { kind: ReportKind; reports: number }>(
      'SELECT kind, reports FROM dropped ORDER BY kind',
    ),
    clearDrops: database.prepare('DELETE FROM dropped'),
  };
  const stored = statements.totals.get();
  const waiting = { reports: stored?.reports ?? 0, bytes: stored?.bytes ?? 0 };
  const sequences = openSequenceNumbers({
    file: join(dataDir, 'outbox-sequence'),
    isFirstStart,
    above: stored?.highest ?? 0,
    nowMs: Math.trunc(Math.max(clock.now(), BUILD_FLOOR_MS)),
  });
  const listeners = new Set<() => void>();

  function guarded<Result>(act: () => Result): Result {
    try {
      return act();
    } catch (error) {
      throw toDatabaseError(error, file);
    }
  }
  function discard({ sequence, bytes }: Row): void {
    statements.remove.run(sequence);
    waiting.reports -= 1;
    waiting.bytes -= bytes;
  }
  function drop(row: Row): void {
    discard(row);
    statements.countDrop.run(row.kind);
  }
  const exceeds = (factor: number) => waiting.reports > maxReports * factor || waiting.bytes > maxBytes * factor;
  function makeRoom(): void {
    for (let oldest; exceeds(1) && (oldest = statements.oldest.get('telemetry'));) drop(oldest);
    for (let oldest; exceeds(2) && (oldest = statements.oldestExpendable.get());) drop(oldest);
  }

  function enqueue<Kind extends ReportKind>(kind: Kind, body: ReportBody<Kind>): void {
    const sequence = sequences.next();
    const report = { protocol: 1, kind, deviceId, sequence, at: clock.now(), body } as Report;
    const envelope = signReport(report, signer);
    if (envelope.length > MAX_REPORT_BYTES) {
      throw new LinkError(
        'OUTBOX_REPORT_TOO_LARGE',
        `A ${kind} report of ${envelope.length} bytes exceeds ${MAX_REPORT_BYTES}.`,
        {
          remedy: 'This is a defect in Drover. Report it with the log around this line.',
        },
      );
    }
    const before = { ...waiting };
    try {
      guarded(() =>
        database.transaction(() => {
          const superseded = kind === 'state' ? statements.oldest.get('state') : undefined;
          if (superseded) discard(superseded);
          statements.insert.run(sequence, kind, envelope);
          waiting.reports += 1;
          waiting.bytes += envelope.length;
          makeRoom();
        })(),
      );
    } catch (error) {
      Object.assign(waiting, before);
      throw error;
    }
    for (const listener of listeners) listener();
  }

  /** Told once the broker takes reports again: at the moment of the loss the incident itself would be one report too many. */
  function reportDrops(): void {
    const drops = statements.drops.all();
    if (drops.length === 0) return;
    const counts = drops.map(({ kind, reports }) => `${reports} ${kind}`).join(', ');
    statements.clearDrops.run();
    const error = new LinkError(
      'OUTBOX_OVERFLOW',
      `The outbox was full while the broker was away; dropped reports: ${counts}.`,
      {
        remedy:
          'Nothing, if the outage was expected. Otherwise check the network of this device, or send telemetry less often.',
      },
    );
    enqueue('incident', { error: error.toJSON() });
  }

  if (rebuilt) enqueue('incident', { error: toCodedErrorJson(rebuilt) });

  return {
    enqueue,
    head: () =>
      guarded(() => {
        const row = statements.head.get();
        return row && { sequence: row.sequence, bytes: row.envelope };
      }),
    remove: (sequence) =>
      guarded(() => {
        const row = statements.get.get(sequence);
        // A newer state may have replaced it while it was on its way.
        if (row) discard(row);
        if (waiting.reports === 0) reportDrops();
      }),
    onAdded(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    pending: () => ({ ...waiting, dropped: statements.drops.all().reduce((sum, { reports }) => sum + reports, 0) }),
    close() {
      sequences.close();
      database.close();
    },
  };
}

interface Row {
  readonly sequence: number;
  readonly kind: ReportKind;
  readonly bytes: number;
}
