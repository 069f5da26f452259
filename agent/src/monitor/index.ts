export { openTelemetry, type TelemetryOptions } from './sqlite-telemetry.js';
export { openTelemetryThread, type TelemetryThreadOptions } from './telemetry-thread.js';
export {
  inlineTelemetry,
  type DriftVerdict,
  type LabelledSamples,
  type SampleWindow,
  type SynchronousTelemetry,
  type TelemetryStore,
  type WindowQuery,
} from './telemetry-store.js';
export { createStoreRecorder, type StoreRecorder, type StoreRecorderOptions } from './store-recorder.js';
export { DriftWatch, type DriftWatchOptions } from './drift-watch.js';
export { createReporter, type Reporter, type ReporterOptions } from './reporter.js';
export { MONITOR_CODES, MonitorError, type MonitorCode } from './errors.js';
export type { ListingTerms } from './labelling/label-listing.js';
export type { LabelLook } from './labelling/label-requests.js';
