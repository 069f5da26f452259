import type { Migration } from '../migrate.js';

/** Orders of the director, telemetry of the devices, rollouts. */
export const deliveries: Migration = {
  version: 2,
  name: 'deliveries',
  async up(db) {
    await db.schema
      .createTable('orders')
      .addColumn('deployment_id', 'text', (column) => column.primaryKey())
      .addColumn('device_id', 'text', (column) => column.notNull())
      .addColumn('model', 'text', (column) => column.notNull())
      .addColumn('version', 'text', (column) => column.notNull())
      .addColumn('digest', 'text', (column) => column.notNull())
      .addColumn('epoch', 'bigint', (column) => column.notNull())
      .addColumn('counter', 'bigint', (column) => column.notNull())
      .addColumn('issued_at', 'bigint', (column) => column.notNull())
      .addColumn('expires_at', 'bigint', (column) => column.notNull())
      .addColumn('rollout_id', 'text')
      .addColumn('probation', 'text', (column) => column.notNull())
      .addColumn('downgrade', 'text')
      .addColumn('envelope', 'text', (column) => column.notNull())
      .addColumn('outcome', 'text')
      .addColumn('outcome_error', 'text')
      .addColumn('outcome_at', 'bigint')
      // Two orders with one counter would make a device refuse the one that comes second.
      .addUniqueConstraint('orders_counter', ['device_id', 'model', 'epoch', 'counter'])
      .execute();
    await db.schema.createIndex('orders_rollout').on('orders').columns(['rollout_id', 'device_id']).execute();

    await db.schema
      .createTable('reports')
      .addColumn('id', 'integer', (column) => column.primaryKey().autoIncrement())
      .addColumn('device_id', 'text', (column) => column.notNull())
      .addColumn('sequence', 'bigint', (column) => column.notNull())
      .addColumn('envelope_hash', 'text', (column) => column.notNull())
      .addColumn('kind', 'text', (column) => column.notNull())
      .addColumn('at', 'bigint', (column) => column.notNull())
      .addColumn('received_at', 'bigint', (column) => column.notNull())
      .addColumn('body', 'text', (column) => column.notNull())
      .addUniqueConstraint('reports_once', ['device_id', 'sequence', 'envelope_hash'])
      .execute();
    await db.schema.createIndex('reports_kind').on('reports').columns(['kind', 'id']).execute();
    await db.schema.createIndex('reports_device').on('reports').columns(['device_id', 'kind', 'id']).execute();

    await db.schema
      .createTable('report_floors')
      .addColumn('device_id', 'text', (column) => column.primaryKey())
      .addColumn('sequence', 'bigint', (column) => column.notNull())
      .addColumn('at', 'bigint', (column) => column.notNull())
      .execute();

    await db.schema
      .createTable('device_states')
      .addColumn('device_id', 'text', (column) => column.primaryKey())
      .addColumn('sequence', 'bigint', (column) => column.notNull())
      .addColumn('at', 'bigint', (column) => column.notNull())
      .addColumn('received_at', 'bigint', (column) => column.notNull())
      .addColumn('agent_version', 'text', (column) => column.notNull())
      .addColumn('hardware_class', 'text', (column) => column.notNull())
      .addColumn('attributes', 'text', (column) => column.notNull())
      .execute();

    await db.schema
      .createTable('device_models')
      .addColumn('device_id', 'text', (column) => column.notNull())
      .addColumn('model', 'text', (column) => column.notNull())
      .addColumn('running_version', 'text')
      .addColumn('running_digest', 'text')
      .addColumn('running', 'text')
      .addColumn('update_state', 'text', (column) => column.notNull())
      .addColumn('update_deployment_id', 'text')
      .addColumn('accepted_epoch', 'bigint')
      .addColumn('accepted_counter', 'bigint')
      .addColumn('outcome', 'text')
      .addColumn('outcome_deployment_id', 'text')
      .addColumn('outcome_digest', 'text')
      .addColumn('outcome_error', 'text')
      .addColumn('received_at', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('device_models_key', ['device_id', 'model'])
      .execute();

    await db.schema
      .createTable('serving_counts')
      .addColumn('report_id', 'integer', (column) => column.notNull())
      .addColumn('device_id', 'text', (column) => column.notNull())
      .addColumn('model', 'text', (column) => column.notNull())
      .addColumn('version', 'text', (column) => column.notNull())
      .addColumn('digest', 'text', (column) => column.notNull())
      .addColumn('window_ms', 'bigint', (column) => column.notNull())
      .addColumn('received_at', 'bigint', (column) => column.notNull())
      .addColumn('requests', 'bigint', (column) => column.notNull())
      .addColumn('failures', 'bigint', (column) => column.notNull())
      .addColumn('labelled', 'bigint', (column) => column.notNull())
      .addColumn('correct', 'bigint', (column) => column.notNull())
      .execute();
    await db.schema
      .createIndex('serving_counts_device')
      .on('serving_counts')
      .columns(['device_id', 'model', 'report_id'])
      .execute();
    await db.schema
      .createIndex('serving_counts_model')
      .on('serving_counts')
      .columns(['model', 'received_at'])
      .execute();
    await db.schema
      .createIndex('serving_counts_arrival')
      .on('serving_counts')
      .columns(['model', 'report_id'])
      .execute();
    await db.schema.createIndex('serving_counts_report').on('serving_counts').column('report_id').execute();

    await db.schema
      .createTable('report_refusals')
      .addColumn('device_id', 'text', (column) => column.notNull())
      .addColumn('code', 'text', (column) => column.notNull())
      .addColumn('count', 'bigint', (column) => column.notNull())
      .addColumn('last_at', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('report_refusals_key', ['device_id', 'code'])
      .execute();

    await db.schema
      .createTable('rollouts')
      .addColumn('id', 'text', (column) => column.primaryKey())
      .addColumn('model', 'text', (column) => column.notNull())
      .addColumn('version', 'text', (column) => column.notNull())
      .addColumn('digest', 'text', (column) => column.notNull())
      .addColumn('request', 'text', (column) => column.notNull())
      .addColumn('state', 'text', (column) => column.notNull())
      .addColumn('reason', 'text', (column) => column.notNull())
      .addColumn('stage', 'integer', (column) => column.notNull())
      .addColumn('revert_wanted', 'integer', (column) => column.notNull())
      .addColumn('created_at', 'bigint', (column) => column.notNull())
      .addColumn('created_by', 'text', (column) => column.notNull())
      .addColumn('updated_at', 'bigint', (column) => column.notNull())
      .execute();

    await db.schema
      .createTable('rollout_devices')
      .addColumn('rollout_id', 'text', (column) => column.notNull().references('rollouts.id'))
      .addColumn('device_id', 'text', (column) => column.notNull())
      .addColumn('position', 'integer', (column) => column.notNull())
      .addColumn('stratum', 'text', (column) => column.notNull())
      .addColumn('state', 'text', (column) => column.notNull())
      .addColumn('reason', 'text', (column) => column.notNull())
      .addColumn('previous_version', 'text')
      .addColumn('previous_digest', 'text')
      .addColumn('deployment_id', 'text')
      .addColumn('revert_deployment_id', 'text')
      .addColumn('ordered_after_report', 'bigint')
      .addColumn('updated_at', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('rollout_devices_key', ['rollout_id', 'device_id'])
      .execute();

    await db.schema
      .createTable('rollout_stages')
      .addColumn('id', 'integer', (column) => column.primaryKey().autoIncrement())
      .addColumn('rollout_id', 'text', (column) => column.notNull().references('rollouts.id'))
      .addColumn('stage', 'integer', (column) => column.notNull())
      .addColumn('started_at', 'bigint', (column) => column.notNull())
      .addColumn('started_after_report', 'bigint', (column) => column.notNull())
      .addColumn('plan', 'text', (column) => column.notNull())
      .addColumn('evidence', 'text')
      .addColumn('verdict', 'text')
      .addColumn('decided_at', 'bigint')
      .execute();
    await db.schema.createIndex('rollout_stages_rollout').on('rollout_stages').columns(['rollout_id', 'id']).execute();

    await db.schema
      .createTable('rollout_events')
      .addColumn('id', 'integer', (column) => column.primaryKey().autoIncrement())
      .addColumn('rollout_id', 'text', (column) => column.notNull().references('rollouts.id'))
      .addColumn('at', 'bigint', (column) => column.notNull())
      .addColumn('kind', 'text', (column) => column.notNull())
      .addColumn('message', 'text', (column) => column.notNull())
      .addColumn('detail', 'text', (column) => column.notNull())
      .execute();
    await db.schema.createIndex('rollout_events_rollout').on('rollout_events').columns(['rollout_id', 'id']).execute();
  },
};
