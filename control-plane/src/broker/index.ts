export { SERVICE_USER } from './access.js';
export {
  startBroker,
  type BrokerMetrics,
  type BrokerOptions,
  type BrokerPort,
  type CertificateHolder,
  type DeviceAccess,
  type ReportHandler,
} from './broker.js';
export { brokerMetrics } from './metrics.js';
export { BROKER_CODES, BrokerError } from './errors.js';
export { acceptWebSockets, WEBSOCKET_PATH } from './websocket.js';
