import { createHash } from 'node:crypto';
import type { Report, ReportBody, ServingCounts } from '@drover/shared/protocol';
import type { Db } from '../database/index.js';
import { storeLabelOutcomes } from '../labels/delivery.js';
import { storeLabelListing } from '../labels/store-listing.js';
import { storeInputHours } from './store-inputs.js';

type Trx = Db;

/**
 * Stores a verified report and all that follows from it, in one transaction. Delivery is at least once, so the same envelope comes again;
 * it is recognized by its own bytes, because a device that lost its outbox counts from 1 again and must not go unheard.
 *
 * @returns the new row's id, or undefined for a repetition.
 */
export async function storeReport(
  db: Db,
  report: Report,
  envelope: Uint8Array,
  receivedAt: number,
): Promise<number | undefined> {
  return db.transaction().execute(async (trx) => {
    const floor = await trx
      .selectFrom('report_floors')
      .selectAll()
      .where('device_id', '=', report.deviceId)
      .executeTakeFirst();
    if (floor && report.sequence <= floor.sequence && report.at <= floor.at) return undefined;
    const inserted = await trx
      .insertInto('reports')
      .values({
        device_id: report.deviceId,
        sequence: report.sequence,
        envelope_hash: createHash('sha256').update(envelope).digest('hex'),
        kind: report.kind,
        at: report.at,
        received_at: receivedAt,
        body: JSON.stringify(report.body),
      })
      .onConflict((conflict) => conflict.columns(['device_id', 'sequence', 'envelope_hash']).doNothing())
      .returning('id')
      .executeTakeFirst();
    if (!inserted) return undefined;
    if (report.kind === 'state') await storeState(trx, report, report.body, receivedAt);
    if (report.kind === 'telemetry') {
      await storeCounts(trx, report, report.body, inserted.id, receivedAt);
      await storeInputHours(trx, report.deviceId, report.body.inputs ?? [], receivedAt);
      const { deviceId, sequence, at, body } = report;
      await storeLabelOutcomes(trx, deviceId, body.labelOutcomes ?? [], receivedAt);
      if (body.labels) await storeLabelListing(trx, body.labels, { deviceId, sequence, at, receivedAt });
    }
    return inserted.id;
  });
}

/** An outbox may deliver late: what is older by both numbering and clock does not replace what is newer. */
async function storeState(trx: Trx, report: Report, body: ReportBody<'state'>, receivedAt: number): Promise<void> {
  const { deviceId, sequence, at } = report;
  const known = await trx
    .selectFrom('device_states')
    .select(['sequence', 'at'])
    .where('device_id', '=', deviceId)
    .executeTakeFirst();
  if (known && sequence < known.sequence && at <= known.at) return;
  const state = {
    device_id: deviceId,
    sequence,
    at,
    received_at: receivedAt,
    agent_version: body.agentVersion,
    hardware_class: body.hardwareClass,
    attributes: JSON.stringify(body.attributes),
    repository: body.repository ? JSON.stringify(body.repository) : null,
    stale_code: body.repository?.stale?.code ?? null,
    takes: body.takes === undefined ? null : JSON.stringify(body.takes),
  };
  await trx
    .insertInto('device_states')
    .values(state)
    .onConflict((conflict) => conflict.column('device_id').doUpdateSet(state))
    .execute();
  // The report names all models: one that is not in it is not there any more.
  await trx.deleteFrom('device_models').where('device_id', '=', deviceId).execute();
  const models = new Map(body.models.map((model) => [model.model, model]));
  for (const { model, running, update, accepted, lastOutcome } of models.values()) {
    await trx
      .insertInto('device_models')
      .values({
        device_id: deviceId,
        model,
        running_version: running?.release.version ?? null,
        running_digest: running?.release.digest ?? null,
        running: running ? JSON.stringify(running) : null,
        update_state: update.state,
        update_deployment_id: update.deploymentId ?? null,
        accepted_epoch: accepted?.epoch ?? null,
        accepted_counter: accepted?.counter ?? null,
        outcome: lastOutcome?.outcome ?? null,
        outcome_deployment_id: lastOutcome?.deploymentId ?? null,
        outcome_digest: lastOutcome?.release.digest ?? null,
        outcome_error: lastOutcome?.error ? JSON.stringify(lastOutcome.error) : null,
        received_at: receivedAt,
      })
      .execute();
    if (lastOutcome) {
      await trx
        .updateTable('orders')
        .set({
          outcome: lastOutcome.outcome,
          outcome_error: lastOutcome.error ? JSON.stringify(lastOutcome.error) : null,
          outcome_at: receivedAt,
        })
        .where('deployment_id', '=', lastOutcome.deploymentId)
        .where('device_id', '=', deviceId)
        .where('outcome', 'is', null)
        .execute();
    }
  }
}

async function storeCounts(
  trx: Trx,
  report: Report,
  body: ReportBody<'telemetry'>,
  reportId: number,
  receivedAt: number,
): Promise<void> {
  const rows = body.models.map((counts) => ({
    report_id: reportId,
    device_id: report.deviceId,
    model: counts.model,
    version: counts.release.version,
    digest: counts.release.digest,
    window_ms: body.windowMs,
    received_at: receivedAt,
    requests: counts.requests,
    failures: counts.failures,
    labelled: counts.labelled.count,
    // More right answers than answers is no accuracy; counting them all as answers keeps it within [0, 1].
    correct: Math.min(counts.labelled.correct, counts.labelled.count),
    ...errorSums(counts.errors),
  }));
  if (rows.length > 0) await trx.insertInto('serving_counts').values(rows).execute();
  const comparisons = (body.comparisons ?? []).map((counts) => ({
    report_id: reportId,
    device_id: report.deviceId,
    model: counts.model,
    candidate: counts.candidate.digest,
    received_at: receivedAt,
    counts: JSON.stringify(counts),
  }));
  if (comparisons.length > 0) await trx.insertInto('trial_comparisons').values(comparisons).execute();
}

const NO_ERRORS = { count: 0, mean: 0, meanAbsolute: 0, meanSquare: 0 };

function errorSums({ count, mean, meanAbsolute, meanSquare }: ServingCounts['errors'] = NO_ERRORS) {
  return {
    error_count: count,
    error_sum: finite(count * mean),
    error_absolute: finite(count * meanAbsolute),
    error_squared: finite(count * meanSquare),
  };
}

/** A device may say anything; sums over a fleet have to stay numbers. */
const finite = (sum: number): number => Math.max(-MAX_SUM, Math.min(MAX_SUM, sum));
const MAX_SUM = 1e290;
