export {
  compileTrainingStep,
  type CarriedTensor,
  type TrainingStep,
  type TrainingStepOptions,
} from './training-step.js';
export { findLogits, findScoreOutput, type ScoreOutput } from './logits.js';
export type { OptimizerSettings } from './optimizers.js';
