import type { Generated } from 'kysely';

/** One row for each time that orders had to stop (no epoch), and one for each statement that let them go on. */
export interface RecoveryTable {
  readonly id: Generated<number>;
  readonly reason: string;
  readonly begun_at: number;
  /** From then until `begun_at` this control plane did what this database does not hold; null where nothing was lost. */
  readonly lost_from: number | null;
  readonly epoch: number | null;
  /** The DSSE envelope of that statement, as devices get it. */
  readonly statement: string | null;
  readonly ended_at: number | null;
}

export interface RecoveryTables {
  recoveries: RecoveryTable;
}
