import type { TensorMap } from '../tensors/tensor.js';
import type { ShadowTrial } from './shadow-trial.js';
import type { SplitTrial } from './split-trial.js';

/** A release that is tried, in either way. */
export type RunningTrial = ShadowTrial | SplitTrial;

/** Called when the release that serves has answered. */
export type Compare = (outputs: TensorMap, latencyUs: number) => void;
