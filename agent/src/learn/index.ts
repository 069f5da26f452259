export { LEARN_CODES, LearnError, type LearnCode } from './errors.js';
export { concatExamples, mixReplay, selectExamples, splitExamples, type Examples } from './examples.js';
export { buildDenseClassifier, standardization, type DenseClassifierShape } from './network.js';
export {
  compileTrainingStep,
  type CarriedTensor,
  type TrainingStep,
  type TrainingStepOptions,
} from './gradient/index.js';
export { trainingRecipe, type TrainingRecipe } from './recipe.js';
export { CHECKPOINT_FORMAT, type Checkpoint } from './checkpoint.js';
export { train, type Slicing, type TrainingProgress, type TrainingResult, type TrainOptions } from './trainer.js';
export { evaluateClassifier, type EvaluateOptions, type Evaluation } from './evaluate.js';
export {
  comparePaired,
  judgeAdaptation,
  type AdaptationBounds,
  type AdaptationEvidence,
  type AdaptationJudgement,
  type GateCheck,
  type GateVerdict,
  type PairedComparison,
  type PairedCorrectness,
} from './gate.js';
export { ADAPTATION_FORMAT, Adaptation, digestExamples, parseAdaptation } from './adaptation.js';
export { fineTune, type FineTuneOptions, type FineTuneRequest, type FineTuneResult } from './fine-tune.js';
export { startTrainerProcess, type TrainerProcess, type TrainerProcessOptions } from './trainer-process.js';
