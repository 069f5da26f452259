export { breakSensor, type SensorFault } from './bad-hardware.js';
export type { Drift } from './drift.js';
export { WORLD_CODES, WorldError } from './errors.js';
export type { Examples, StreamedExamples } from './examples.js';
export { openGasWorld, type GasWorldOptions } from './gas-data.js';
export { GASES } from './gases.js';
export { corruptLabels, swapLabels } from './label-mistake.js';
export {
  createWorld,
  type DeviceStream,
  type Noise,
  type TrainingSetRequest,
  type World,
  type WorldOptions,
} from './world.js';
