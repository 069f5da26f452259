export { Bandwidth, DEFAULT_LIMITS, type BandwidthLimits } from './bandwidth.js';
export { deliverFile, type Delivery } from './deliver.js';
export { createWriteGate } from '../kill-points.js';
export { ReleaseStore } from '../store.js';
