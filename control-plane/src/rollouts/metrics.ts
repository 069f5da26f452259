import { Gauge } from 'prom-client';
import type { Db } from '../database/index.js';
import type { MetricsSource } from '../http/index.js';
import { ROLLOUT_TRANSITIONS, type RolloutState } from './states.js';

/** Rollouts by state. */
export const rolloutMetrics =
  (db: Db): MetricsSource =>
  (registry) => {
    const rollouts = new Gauge({
      name: 'drover_rollouts',
      help: 'Rollouts by state.',
      labelNames: ['state'] as const,
      registers: [registry],
    });
    return async () => {
      const rows = await db
        .selectFrom('rollouts')
        .select(({ fn }) => ['state', fn.countAll<number | string>().as('count')])
        .groupBy('state')
        .execute();
      for (const state of Object.keys(ROLLOUT_TRANSITIONS) as RolloutState[]) {
        rollouts.set({ state }, Number(rows.find((row) => row.state === state)?.count ?? 0));
      }
    };
  };
