export { changeRolloutState } from './execute.js';
export { activeRollouts } from './load-facts.js';
export { startEngine, type EngineOptions, type RolloutEngine } from './engine.js';
export { ROLLOUT_CODES, RolloutError } from './errors.js';
export { rolloutMetrics } from './metrics.js';
export { Gate, RolloutRequest, Stage } from './request.js';
export { rolloutRoutes } from './routes.js';
export { recomputeStage, type StageEvidence } from './verdict.js';
