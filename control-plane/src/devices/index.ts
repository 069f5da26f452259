export { authenticateDevice, deviceDirectory, type Device, type DeviceDirectory } from './directory.js';
export { deviceRoutes, type DeviceRouteDependencies } from './routes.js';
export { createClaimToken, enrolDevice, type EnrolmentFacts } from './enrolment.js';
export { DEVICE_CODES, DeviceError } from './errors.js';
export { Selector } from './selector.js';
export { deviceCertificates, pruneCertificates, type DeviceCertificates } from './certificates.js';
export { revokeDevice } from './revocation.js';
