export { openLink, type Link, type LinkOptions } from './link.js';
export { openOutbox, type Outbox, type OutboxOptions, type QueuedReport, type ReportQueue } from './outbox.js';
export { LINK_CODES, LinkError } from './errors.js';
