import type { TelemetryBody } from '@drover/shared/protocol';
import type { Clock } from '../host/clock.js';
import type { HostProbe } from '../host/metrics.js';
import type { TelemetryStore } from './telemetry-store.js';

export interface ReporterOptions {
  readonly store: Pick<TelemetryStore, 'takeCounts'>;
  readonly host: Pick<HostProbe, 'metrics'>;
  readonly clock: Pick<Clock, 'monotonic'>;
}

export interface Reporter {
  /** What happened since the last call. Calling it takes the counts: send what it returns, or they are lost. */
  telemetryBody(): Promise<TelemetryBody>;
}

/** The protocol's bound; what is beyond it stays for the next report. */
const MAX_MODELS_PER_REPORT = 64;

export function createReporter({ store, host, clock }: ReporterOptions): Reporter {
  let sinceMs = clock.monotonic();
  return {
    async telemetryBody() {
      // The host first: should it fail, no counts were taken.
      const metrics = await host.metrics();
      const models = await store.takeCounts(MAX_MODELS_PER_REPORT);
      const nowMs = clock.monotonic();
      const windowMs = Math.max(0, Math.round(nowMs - sinceMs));
      sinceMs = nowMs;
      return { windowMs, host: metrics, models };
    },
  };
}
