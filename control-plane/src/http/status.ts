import { ID_CODES } from '@drover/shared/ids';
import { INTERNAL_CODES } from '@drover/shared/coded-error';
import { MANIFEST_CODES } from '@drover/shared/manifest';
import { PROTOCOL_CODES } from '@drover/shared/protocol';
import { TRUST_CODES } from '@drover/shared/trust';
import { BLOB_CODES } from '../blobs/index.js';
import { DATABASE_CODES } from '../database/index.js';
import { DEVICE_CODES } from '../devices/index.js';
import { GOVERNANCE_CODES } from '../governance/index.js';
import { REGISTRY_CODES } from '../registry/index.js';
import { ROLLOUT_CODES } from '../rollouts/errors.js';
import { HTTP_CODES } from './errors.js';

/** Every table whose codes a request can meet. */
export const REQUEST_CODES = {
  ...INTERNAL_CODES,
  ...ID_CODES,
  ...MANIFEST_CODES,
  ...PROTOCOL_CODES,
  ...TRUST_CODES,
  ...BLOB_CODES,
  ...DATABASE_CODES,
  ...DEVICE_CODES,
  ...GOVERNANCE_CODES,
  ...HTTP_CODES,
  ...REGISTRY_CODES,
  ...ROLLOUT_CODES,
} as const;
export type RequestCode = keyof typeof REQUEST_CODES;

/** HTTP status per code (RFC 9110, section 15): the only place that knows both. The compiler refuses a missing or a surplus code. */
export const STATUS_OF: Readonly<Record<RequestCode, number>> = {
  INTERNAL_ERROR: 500,
  ID_INVALID: 422,
  MANIFEST_INVALID: 422,
  MANIFEST_NO_VARIANT: 422,
  GOLDEN_VECTORS_INVALID: 422,
  SAMPLES_INVALID: 422,
  MESSAGE_INVALID: 422,
  MESSAGE_PROTOCOL_UNKNOWN: 422,
  MESSAGE_WRONG_DEVICE: 422,
  SIGNATURE_INVALID: 422,
  SIGNATURE_BELOW_THRESHOLD: 422,
  ENVELOPE_MALFORMED: 422,
  ENVELOPE_TYPE_WRONG: 422,
  KEY_MALFORMED: 422,
  BLOB_DIGEST_MISMATCH: 422,
  BLOB_TOO_LARGE: 413,
  BLOB_DISK_FULL: 507,
  BLOB_UPLOAD_BROKEN: 400,
  BLOB_STORE_UNAVAILABLE: 503,
  BLOB_UNKNOWN: 404,
  BLOB_RANGE_INVALID: 416,
  DATABASE_CORRUPT: 503,
  DATABASE_CORRUPT_REBUILT: 503,
  DATABASE_NEWER: 503,
  DATABASE_UNAVAILABLE: 503,
  DATABASE_DISK_FULL: 507,
  DATABASE_BUSY: 503,
  DEVICE_UNKNOWN: 404,
  DEVICE_ID_TAKEN: 409,
  CLAIM_TOKEN_UNKNOWN: 403,
  CLAIM_TOKEN_EXPIRED: 403,
  CLAIM_TOKEN_SPENT: 403,
  SELECTOR_EMPTY: 422,
  TOKEN_NAME_TAKEN: 409,
  TOKEN_UNKNOWN: 404,
  TOKEN_LAST_ADMIN: 409,
  AUTH_REQUIRED: 401,
  AUTH_INVALID: 401,
  AUTH_FORBIDDEN: 403,
  REQUEST_INVALID: 400,
  REQUEST_TOO_LARGE: 413,
  REQUEST_MEDIA_TYPE: 415,
  ROUTE_UNKNOWN: 404,
  PUBLISHER_KEYS_MISSING: 409,
  RELEASE_EXISTS: 409,
  RELEASE_FILES_MISSING: 409,
  RELEASE_FILE_SIZE_WRONG: 422,
  RELEASE_PARENT_UNKNOWN: 409,
  RELEASE_UNKNOWN: 404,
  MODEL_UNKNOWN: 404,
  ROLLOUT_UNKNOWN: 404,
  ROLLOUT_INVALID: 422,
  ROLLOUT_NO_DEVICES: 422,
  ROLLOUT_OVERLAP: 409,
  ROLLOUT_TRANSITION_REFUSED: 409,
};

export const statusOf = (code: string): number =>
  Object.hasOwn(STATUS_OF, code) ? STATUS_OF[code as RequestCode] : 500;
