import type { ModelName, Version } from '@drover/shared/ids';
import type { InstalledModel, ServedParameters } from '../../update/ports.js';
import type { LabelRequest } from '../label-desk.js';
import type { Rejection } from '../parameters/board.js';
import type { LabelOutcome } from '../recorder.js';
import type { SequenceRequest } from '../sequences/sequences.js';
import type { TensorMap } from '../tensors/tensor.js';
import type { GivenLabel, HeldAnswer } from './feedback.js';

export interface InferenceRequest extends SequenceRequest {
  readonly model: ModelName;
  readonly version?: string | undefined;
  readonly requestId: string;
  /** While a release is tried: requests with the same key are answered by the same release. In place of the id. */
  readonly splitKey?: string | undefined;
}

export interface InferenceResponse {
  readonly version: Version;
  readonly outputs: TensorMap;
  /** In force when the run began. */
  readonly parameters: Pick<ServedParameters, 'release'> | undefined;
}

/** What the protocol needs of the models that are served. */
export interface ServedModels {
  served(): readonly InstalledModel[];
  /** @throws ServeError MODEL_NOT_SERVED */
  find(model: string, version?: string): InstalledModel;
  /** @throws ServeError MODEL_NOT_SERVED, REQUEST_INVALID, INPUT_CONTRACT_VIOLATED, MODEL_RUN_FAILED, SEQUENCE_* */
  infer(request: InferenceRequest): Promise<InferenceResponse>;
  /**
   * Ground truth for the rows of an earlier request. Resolves when it is joined with at least one of them.
   *
   * @throws ServeError MODEL_NOT_SERVED, REQUEST_INVALID, FEEDBACK_SAMPLE_GONE, FEEDBACK_CONFLICTS, and what the recorder rejects with
   */
  feedback(model: string, requestId: string, labels: readonly GivenLabel[]): Promise<LabelOutcome>;
  /** What the agent would like labelled. @throws ServeError MODEL_NOT_SERVED, and what the desk rejects with */
  labelRequests(model: string): Promise<readonly LabelRequest[]>;
  /**
   * The truth that was asked for; null where nobody can tell.
   *
   * @throws ServeError MODEL_NOT_SERVED, REQUEST_INVALID, LABEL_REQUEST_UNKNOWN, FEEDBACK_SAMPLE_GONE, FEEDBACK_CONFLICTS, and what the desk rejects with
   */
  answerLabel(model: string, id: string, label: GivenLabel): Promise<HeldAnswer>;
  /** In force for the release that serves. @throws ServeError MODEL_NOT_SERVED, PARAMETERS_NOT_IN_FORCE */
  parameters(model: string): ServedParameters | Promise<ServedParameters>;
  /** An application can't work with the parameters of this release. @throws ServeError MODEL_NOT_SERVED, REQUEST_INVALID */
  rejectParameters(model: string, rejection: Rejection): void | Promise<void>;
}
