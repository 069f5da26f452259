export { SERVICE_USER } from './access.js';
export { startBroker, type BrokerOptions, type EmbeddedBroker } from './broker.js';
export { connectBroker, type ExternalBrokerOptions } from './external-broker.js';
export { brokerMetrics } from './metrics.js';
export { BROKER_CODES, BrokerError } from './errors.js';
export type { BrokerMetrics, BrokerPort, CertificateHolder, DeviceAccess, ReportHandler } from './port.js';
export { keepTrustFiles, type TrustFiles } from './trust-files.js';
export { acceptWebSockets, WEBSOCKET_PATH } from './websocket.js';
