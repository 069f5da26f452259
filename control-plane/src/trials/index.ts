export { TRIAL_CODES, TrialError } from './errors.js';
export { trialMetrics } from './metrics.js';
export { TrialRequest } from './request.js';
export { trialRoutes, type TrialRouteDependencies } from './routes.js';
export { createTrials, type Trials, type TrialsOptions } from './trials.js';
