// Loads the ONNX runtime: for the inference process and the simulator, never for the supervisor.
export { InlineServing, type InlineServingOptions } from './inline-serving.js';
export type { InferenceRequest, InferenceResponse, ServedModels } from './served-models.js';
export { openSession } from '../session/session.js';
export { readGoldenVectors, selfTest, type SelfTestResult } from '../session/golden.js';
export type { ModelSession, OpenedSession, SessionOptions } from '../session/model-session.js';
export type { ModelTensor, NumericDatatype, TensorData, TensorMap } from '../tensors/tensor.js';
export { listenInference, type InferenceServer, type InferenceServerOptions } from '../protocol/inference-server.js';
