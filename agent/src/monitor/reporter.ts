import type { LabelOutcome, TelemetryBody } from '@drover/shared/protocol';
import type { Clock } from '../host/clock.js';
import type { HostProbe } from '../host/metrics.js';
import type { ListingTerms } from './labelling/label-listing.js';
import type { TelemetryStore } from './telemetry-store.js';

export interface ReporterOptions {
  readonly store: Pick<TelemetryStore, 'takeCounts' | 'takeInputHours' | 'takeComparisons' | 'takeLabelListing'>;
  readonly host: Pick<HostProbe, 'metrics'>;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly labelTerms: () => ListingTerms;
  /** What became of answers from the control plane; at most so many, the rest waits. */
  readonly takeLabelOutcomes: (limit: number) => LabelOutcome[];
}

export interface Reporter {
  /** What happened since the last call. Calling it takes the counts: send what it returns, or they are lost. */
  telemetryBody(): Promise<TelemetryBody>;
}

/** The protocol's bound; what is beyond it stays for the next report. */
const MAX_MODELS_PER_REPORT = 64;
/** Each has up to 128 rules, and a report at most 1 MiB. */
const MAX_INPUT_HOURS_PER_REPORT = 8;
const MAX_LABEL_OUTCOMES_PER_REPORT = 200;

export function createReporter({ store, host, clock, ...options }: ReporterOptions): Reporter {
  let sinceMs = clock.monotonic();
  return {
    async telemetryBody() {
      // The host first: should it fail, no counts were taken.
      const metrics = await host.metrics();
      const models = await store.takeCounts(MAX_MODELS_PER_REPORT);
      const inputs = await store.takeInputHours(MAX_INPUT_HOURS_PER_REPORT);
      const comparisons = await store.takeComparisons(MAX_MODELS_PER_REPORT);
      const labels = await store.takeLabelListing(options.labelTerms());
      const labelOutcomes = options.takeLabelOutcomes(MAX_LABEL_OUTCOMES_PER_REPORT);
      const nowMs = clock.monotonic();
      const windowMs = Math.max(0, Math.round(nowMs - sinceMs));
      sinceMs = nowMs;
      return {
        windowMs,
        host: metrics,
        models,
        ...(inputs.length > 0 && { inputs }),
        ...(comparisons.length > 0 && { comparisons }),
        ...(labels && { labels }),
        ...(labelOutcomes.length > 0 && { labelOutcomes }),
      };
    },
  };
}
