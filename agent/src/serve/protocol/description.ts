import type { InstalledModel } from '../../update/ports.js';
import type { SharedMemory } from './shared-memory.js';
import type { ServedModels } from '../inline/served-models.js';

// What both forms of the protocol say about the server and its models.

const PLATFORM = 'onnx_onnxv1';

export const describeServer = (version: string, memory: Pick<SharedMemory, 'isAllowed'>) => ({
  name: 'drover',
  version,
  extensions: [
    'binary_tensor_data',
    'classification',
    'model_repository',
    'schedule_policy',
    'sequence',
    ...(memory.isAllowed ? ['system_shared_memory'] : []),
    'drover_feedback',
    'drover_parameters',
  ],
});

export const describeModel = ({ model, release, manifest, variant }: InstalledModel) => ({
  name: model,
  versions: [release.version],
  platform: PLATFORM,
  inputs: variant.signature.inputs,
  outputs: variant.signature.outputs,
  properties: { task: manifest.task.type, variant: variant.name, precision: variant.precision },
});

/** Triton's model repository extension. */
export const repositoryIndex = (models: Pick<ServedModels, 'served'>) =>
  models.served().map(({ model, release }) => ({ name: model, version: release.version, state: 'READY', reason: '' }));
