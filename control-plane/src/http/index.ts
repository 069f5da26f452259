export {
  ADMIN,
  CONTENT,
  DEVICE,
  LABEL_READER,
  LABELLER,
  OPERATOR,
  PUBLIC,
  PUBLISHER,
  VIEWER,
  type Access,
  type Caller,
} from './access.js';
export { hasAlready } from './conditional.js';
export { actorOf, deviceOf, holderOf } from './caller.js';
export {
  countText,
  deviceIdText,
  digestHexText,
  digestText,
  ErrorDocument,
  listOf,
  modelNameText,
  pageQuery,
  responses,
  strict,
  toDigest,
  toPage,
  versionText,
} from './documents.js';
export { HTTP_CODES, HttpError } from './errors.js';
export type { MetricsSource } from './metrics.js';
