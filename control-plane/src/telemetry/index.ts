export { deviceViews } from './device-view.js';
export { TELEMETRY_CODES, TelemetryError } from './errors.js';
export {
  fieldAccuracy,
  listReports,
  type FieldCounts,
  type FieldQuery,
  type ReportQuery,
  type StoredReport,
} from './field.js';
export { fieldMetrics } from './field-metrics.js';
export { inputsOf, type InputsQuery, type ReleaseInputs, type RuleInputs } from './inputs.js';
export { createIngest, type DeviceKeys, type Ingest, type IngestOptions } from './ingest.js';
export { telemetryMetrics } from './metrics.js';
export { reportedModels, type ReportedModel } from './reported.js';
export { INPUT_LIMIT, pruneReports, REPORT_LIMITS, SERVING_COUNT_LIMIT, type Limit } from './retention.js';
export { telemetryRoutes } from './routes.js';
