export { CLIENT_CODES, InferenceClientError } from './errors.js';
export {
  createInferenceClient,
  type FeedbackOutcome,
  type InferenceClient,
  type InferenceClientOptions,
  type LabelRequest,
  type InferOptions,
  type Inference,
  type ModelMetadata,
} from './inference-client.js';
export type { BytesTensor, ModelTensor, NumericTensor, TensorMap } from '../serve/tensors/tensor.js';
