export { loadDeviceKey, loadOrCreateDeviceKey } from './device-key.js';
export { deviceIdOf, Identity, loadIdentity } from './identity.js';
export { verifyPinnedRoot } from './pinned-root.js';
export { enrol, type EnrolOptions } from './enrol.js';
export { IDENTITY_CODES, IdentityError } from './errors.js';
export { brokerUrls, identityChannel, networkOf, type Network } from './network.js';
export { REASON_REFUSED, renewalReason, renewCertificate } from './renewal.js';
