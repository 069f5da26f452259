// The supervisor's side: nothing here loads the ONNX runtime. What does is in ./inline.
export { ProcessServing, type ProcessServingOptions } from './process/process-serving.js';
export { LatencyHistogram } from './latency-histogram.js';
export { SERVE_CODES, ServeError, type ServeCode } from './errors.js';
export type { FeatureRows, InferenceRecord, LabelRecord, Predictions, Recorder, ServedBy } from './recorder.js';
