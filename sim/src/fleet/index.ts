export {
  startAgentProcess,
  startAttachedAgentProcess,
  type AgentProcess,
  type AttachedAgentProcess,
} from './agent-process.js';
export { startApplication, type Application, type SensorBatch } from './application.js';
export { startControlPlane, type ControlPlaneProcess } from './control-plane-process.js';
export { SIMULATION_CODES, SimulationError } from './errors.js';
export { fakeHost } from './fake-host.js';
export { operatorOf, type Operator } from './operator.js';
export { openPublisher, type ListedRelease, type Publisher } from './publisher.js';
export { startVirtualDevice, type Device, type VirtualDevice } from './virtual-device.js';
export { until } from './wait.js';
export { createClaimToken, rolloutByFailures } from './operator-requests.js';
