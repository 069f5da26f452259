import type { InstalledModel } from '../../update/ports.js';
import type { SharedMemory } from './shared-memory.js';
import type { ServedModels } from '../inline/inline-serving.js';

// What both forms of the protocol say about the server and its models.

const PLATFORM = 'onnx_onnxv1';

export const describeServer = (version: string, memory: Pick<SharedMemory, 'isAllowed'>) => ({
  name: 'drover',
  version,
  extensions: [
    'binary_tensor_data',
    'model_repository',
    'schedule_policy',
    ...(memory.isAllowed ? ['system_shared_memory'] : []),
    'drover_feedback',
    'drover_parameters',
  ],
});

export const describeModel = ({ model, release, variant }: InstalledModel) => ({
  name: model,
  versions: [release.version],
  platform: PLATFORM,
  inputs: variant.signature.inputs,
  outputs: variant.signature.outputs,
});

/** Triton's model repository extension. */
export const repositoryIndex = (models: Pick<ServedModels, 'served'>) =>
  models.served().map(({ model, release }) => ({ name: model, version: release.version, state: 'READY', reason: '' }));
