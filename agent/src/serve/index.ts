// The supervisor's side: nothing here loads the ONNX runtime. What does is in ./inline.
export { ProcessServing, type ProcessServingOptions } from './process/process-serving.js';
export { LatencyHistogram } from './latency-histogram.js';
export { SERVE_CODES, ServeError, type ServeCode } from './errors.js';
export type {
  Comparison,
  FeatureRows,
  InferenceRecord,
  InputCounts,
  LabelOutcome,
  LabelRecord,
  Predictions,
  Recorder,
  ServedBy,
} from './recorder.js';
export type { AnswerOutcome, LabelAnswer, LabelDesk, LabelReason, LabelRequest } from './label-desk.js';
