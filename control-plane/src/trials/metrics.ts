import { Gauge } from 'prom-client';
import type { Db } from '../database/index.js';
import type { MetricsSource } from '../http/index.js';
import { listTrials, showTrial } from './view.js';

/** How far the releases that are tried agree with those that serve. */
export const trialMetrics =
  (db: Db, now: () => number): MetricsSource =>
  (registry) => {
    const gauge = (name: string, help: string) =>
      new Gauge({ name, help, labelNames: ['trial', 'model', 'version'] as const, registers: [registry] });
    const agreement = gauge('drover_trial_agreement', 'Share of agreement of running trials, 0 to 1, by their task.');
    const compared = gauge('drover_trial_compared_requests', 'Requests that were compared in running trials.');
    const answered = gauge('drover_trial_answered_requests', 'Requests that a release on trial answered.');
    const failed = gauge('drover_trial_failed_requests', 'Requests that a release on trial could not be run on.');
    const classShift = gauge(
      'drover_trial_class_shift',
      'How otherwise running trials distribute their answers over the classes, 0 to 1 (total variation distance).',
    );
    const valueShift = gauge(
      'drover_trial_value_shift',
      'How otherwise the values of running trials are distributed, 0 to 1 (Kolmogorov–Smirnov distance).',
    );
    return async () => {
      for (const each of [agreement, compared, answered, failed, classShift, valueShift]) each.reset();
      for (const { id, model, release, state } of await listTrials(db, now())) {
        if (state === 'over') continue;
        const { comparison } = await showTrial(db, id, now());
        const labels = { trial: id, model, version: release.version };
        if (comparison.agreement) agreement.set(labels, comparison.agreement.mean);
        if (comparison.classShift !== undefined) classShift.set(labels, comparison.classShift);
        if (comparison.valueShift !== undefined) valueShift.set(labels, comparison.valueShift);
        compared.set(labels, comparison.outcomes.compared);
        answered.set(labels, comparison.outcomes.answered);
        failed.set(labels, comparison.outcomes.failed);
      }
    };
  };
