export { eValue, isRejected, meanTest, MeanTestState, update, type MeanTestOptions } from './betting.js';
export {
  binomialLowerTail,
  binomialProbability,
  binomialUpperTail,
  clopperPearson,
  mcNemarTest,
  signTest,
} from './binomial.js';
export { calibrateDrift, type CalibrationOptions } from './drift-calibration.js';
export { DriftThresholds, parseDriftThresholds } from './drift-thresholds.js';
export { detectDrift, type DriftDecision, type WindowRows } from './drift.js';
export { STATISTICS_CODES, StatisticsError } from './errors.js';
export { empiricalDistribution, ksStatistic } from './kolmogorov.js';
export { seededRandom, type SeededRandom } from './random.js';
export {
  judgeNonInferiority,
  nonInferiority,
  NonInferiorityState,
  observeDifference,
  VerdictName,
  type NonInferiorityOptions,
  type Verdict,
} from './sequential.js';
export { bucketDistance, bucketOf } from './value-buckets.js';
export {
  judgeProportion,
  observeUnit,
  proportionSprt,
  ProportionSprtState,
  type ProportionSprtOptions,
} from './sprt.js';
