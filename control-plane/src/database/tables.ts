import type { Kysely } from 'kysely';
import type { DeviceTables } from '../devices/tables.js';
import type { DirectorTables } from '../director/tables.js';
import type { GovernanceTables } from '../governance/tables.js';
import type { LabelTables } from '../labels/tables.js';
import type { RecoveryTables } from '../recovery/tables.js';
import type { RegistryTables } from '../registry/tables.js';
import type { RepositoryTables } from '../release-repository/tables.js';
import type { RolloutTables } from '../rollouts/tables.js';
import type { TelemetryTables } from '../telemetry/tables.js';
import type { TrialTables } from '../trials/tables.js';

/** Which migrations have run: one row each, never changed. */
export interface SchemaTable {
  readonly version: number;
  readonly name: string;
  readonly applied_at: number;
}

/**
 * Every table of the control plane. Each domain declares its own in its `tables.ts`; columns are snake_case, times are milliseconds since 1970,
 * documents are JSON text, and truth values are 0 or 1, so that the same statements run on SQLite and PostgreSQL.
 */
export interface Tables
  extends
    GovernanceTables,
    RegistryTables,
    RepositoryTables,
    DeviceTables,
    DirectorTables,
    RolloutTables,
    TrialTables,
    TelemetryTables,
    LabelTables,
    RecoveryTables {
  schema_versions: SchemaTable;
}

/**
 * The database, or a transaction on it. SQLite has one connection: inside `db.transaction().execute((trx) => …)` everything must go
 * through `trx`, because a query on the outer handle would wait for the transaction for ever.
 */
export type Db = Kysely<Tables>;
