import { Gauge } from 'prom-client';
import type { Db } from '../database/index.js';
import type { MetricsSource } from '../http/index.js';
import { repositoryState } from './expiry.js';
import { metadataFiles } from './metadata-files.js';

/** An alert on `drover_repository_seconds_left` tells of what people have to sign, long before a device refuses it. */
export const repositoryMetrics =
  (db: Db, now: () => number): MetricsSource =>
  (registry) => {
    const secondsLeft = new Gauge({
      name: 'drover_repository_seconds_left',
      help: 'Seconds until a role of the release repository expires; below zero when it has.',
      labelNames: ['role'] as const,
      registers: [registry],
    });
    const version = new Gauge({
      name: 'drover_repository_version',
      help: 'Version in force of a role of the release repository.',
      labelNames: ['role'] as const,
      registers: [registry],
    });
    return async () => {
      const { roles } = repositoryState(await metadataFiles(db).current(), now());
      for (const { role, ...state } of roles) {
        secondsLeft.set({ role }, state.secondsLeft);
        version.set({ role }, state.version);
      }
    };
  };
