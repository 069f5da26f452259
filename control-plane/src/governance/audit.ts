import { createHash } from 'node:crypto';
import type { Db } from '../database/index.js';
import type { AuditTable } from './tables.js';

export interface AuditEntry {
  /** Name of the token or device that acted, or `control-plane`. */
  readonly actor: string;
  /** `domain.verb`, for example `release.publish`. */
  readonly action: string;
  /** What it was done to, for example `gas-classifier@1.0.0`. */
  readonly subject: string;
  readonly detail: Readonly<Record<string, unknown>>;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export interface AuditRecord extends AuditEntry {
  readonly sequence: number;
  readonly hash: string;
}

export type AuditVerdict =
  | { readonly intact: true; readonly entries: number; readonly head: string }
  | { readonly intact: false; readonly entries: number; readonly firstBad: number; readonly why: string };

/** Hash before the first entry. */
const GENESIS = '0'.repeat(64);
const VERIFY_PAGE = 1000;

/** JSON of an array: no two different entries have the same text. */
const hashOf = (row: Omit<AuditTable, 'hash'>): string =>
  createHash('sha256')
    .update(JSON.stringify([row.sequence, row.at, row.actor, row.action, row.subject, row.detail, row.previous_hash]))
    .digest('hex');

/**
 * The append-only log of everything that anybody changed. The database refuses to change rows, and each row's hash covers the one before it,
 * so that an edit around the database is found by `verify`. Pass the transaction that makes the change: both happen or neither.
 */
export function audit(db: Db) {
  return {
    async append({ actor, action, subject, detail, at }: AuditEntry): Promise<number> {
      if (!db.isTransaction)
        return db.transaction().execute((trx) => audit(trx).append({ actor, action, subject, detail, at }));
      const last = await db
        .selectFrom('audit')
        .select(['sequence', 'hash'])
        .orderBy('sequence', 'desc')
        .limit(1)
        .executeTakeFirst();
      const row = {
        sequence: (last?.sequence ?? 0) + 1,
        at,
        actor,
        action,
        subject,
        detail: JSON.stringify(detail),
        previous_hash: last?.hash ?? GENESIS,
      };
      await db
        .insertInto('audit')
        .values({ ...row, hash: hashOf(row) })
        .execute();
      return row.sequence;
    },

    async list({ after = 0, limit = 100 }: { after?: number; limit?: number } = {}): Promise<AuditRecord[]> {
      const rows = await db
        .selectFrom('audit')
        .selectAll()
        .where('sequence', '>', after)
        .orderBy('sequence')
        .limit(limit)
        .execute();
      return rows.map(({ detail, previous_hash: _previous, ...row }) => ({
        ...row,
        detail: JSON.parse(detail) as Record<string, unknown>,
      }));
    },

    /** Recomputes the whole chain. What it cannot see is a log cut off at its end: compare `head` with one noted earlier. */
    async verify(): Promise<AuditVerdict> {
      let entries = 0;
      let head = GENESIS;
      for (;;) {
        const page = await db
          .selectFrom('audit')
          .selectAll()
          .where('sequence', '>', entries)
          .orderBy('sequence')
          .limit(VERIFY_PAGE)
          .execute();
        for (const row of page) {
          const bad = (why: string): AuditVerdict => ({ intact: false, entries, firstBad: row.sequence, why });
          if (row.sequence !== entries + 1) return bad(`entry ${entries + 1} is missing`);
          if (row.previous_hash !== head) return bad('it does not follow from the entry before it');
          if (row.hash !== hashOf(row)) return bad('its content was changed after it was written');
          head = row.hash;
          entries += 1;
        }
        if (page.length < VERIFY_PAGE) return { intact: true, entries, head };
      }
    },
  };
}
