export { takeAnswers, type GivenAnswer, type GivenLabel, type Taken } from './answers.js';
export { startLabelDelivery, type LabelDelivery, type LabelDeliveryOptions } from './delivery.js';
export { LABEL_CODES, LabelError } from './errors.js';
export { labelMetrics } from './metrics.js';
export { listLabelRequests, showLabelRequest, type LabelRequest, type LabelRequestQuery } from './requests.js';
export { ANSWERS_KEPT_MS, MAX_LABEL_REQUESTS, pruneLabels } from './retention.js';
export { labelRoutes, type LabelRouteDependencies } from './routes.js';
