import { Gauge } from 'prom-client';
import type { Db } from '../database/index.js';
import type { MetricsSource } from '../http/index.js';
import { fieldAccuracy } from './field.js';

const WITHIN_MS = 60 * 60_000;

/** What the fleet served in the last hour, and how well. */
export const fieldMetrics =
  (db: Db, now: () => number): MetricsSource =>
  (registry) => {
    const gauge = (name: string, help: string) =>
      new Gauge({ name, help, labelNames: ['model', 'version'] as const, registers: [registry] });
    const requests = gauge('drover_field_requests', 'Requests that devices have answered in the last hour.');
    const failures = gauge('drover_field_failures', 'Those of them that failed.');
    const labelled = gauge(
      'drover_field_labelled',
      'Answers whose true class or value came in the last hour: what the accuracy and the errors are of.',
    );
    const accuracy = gauge('drover_field_accuracy', 'Share of them that was right, 0 to 1; of classifications.');
    const bias = gauge('drover_field_error_mean', 'By how much they were too large on average; of regressions.');
    const absolute = gauge('drover_field_error_mean_absolute', 'By how much they were off on average; of regressions.');
    return async () => {
      for (const each of [requests, failures, labelled, accuracy, bias, absolute]) each.reset();
      const models = await db.selectFrom('device_models').select('model').distinct().execute();
      for (const { model } of models) {
        for (const field of await fieldAccuracy(db, { model, since: now() - WITHIN_MS })) {
          const labels = { model, version: field.release.version };
          requests.set(labels, field.requests);
          failures.set(labels, field.failures);
          labelled.set(labels, field.labelled + (field.errors?.count ?? 0));
          if (field.accuracy !== undefined) accuracy.set(labels, field.accuracy);
          if (!field.errors) continue;
          bias.set(labels, field.errors.mean);
          absolute.set(labels, field.errors.meanAbsolute);
        }
      }
    };
  };
