export type {
  AgentRunner,
  InstalledModel,
  ParameterServing,
  ServedParameters,
  SelfTested,
  Serving,
  ServingHealth,
  Trial,
  TrialServing,
  TrialStanding,
} from './ports.js';
export { AgentSlots } from './agent/agent-slots.js';
export { LaunchedAgent } from './agent/launched-agent.js';
export { createUpdater, type Adaptation, type Updater, type UpdaterOptions } from './updater.js';
export type { Receipt } from './receive.js';
export { httpReleaseSource, type HttpSourceOptions, type ReleaseSource } from './fetch.js';
export type { RetryBounds } from './download.js';
export type { BandwidthLimits } from './delivery/bandwidth.js';
export type { KillPoint } from './kill-points.js';
export { UPDATE_CODES, UpdateError, type UpdateCode } from './errors.js';
