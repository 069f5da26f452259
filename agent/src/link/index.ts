export { openLink, type Link, type LinkOptions } from './link.js';
export { openOutbox, type Outbox, type OutboxOptions, type QueuedReport, type ReportQueue } from './outbox.js';
export { LINK_CODES, LinkError } from './errors.js';
export {
  createChannel,
  isSecure,
  proxyFor,
  readBody,
  withoutCredentials,
  type Channel,
  type ClientCertificate,
  type HttpAnswer,
  type HttpFetch,
  type ProxySettings,
  type ServerTrust,
} from './channel/index.js';
