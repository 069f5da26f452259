import { Type } from 'typebox';
import {
  DIGEST_PATTERN,
  NAME_PATTERN,
  UUID_PATTERN,
  type DeploymentId,
  type DeviceId,
  type Digest,
  type ModelName,
  type RolloutId,
  type Version,
} from '../ids/index.js';
import { PROTOCOL_VERSION } from './topics.js';

// Building blocks that several messages share. Messages refuse unknown keys only where a signature decides on them (orders);
// reports may grow keys, so that a control plane can read an agent that is newer than itself.
export const protocol = Type.Literal(PROTOCOL_VERSION);
export const deviceId = Type.Unsafe<DeviceId>(Type.String({ pattern: NAME_PATTERN }));
export const modelName = Type.Unsafe<ModelName>(Type.String({ pattern: NAME_PATTERN }));
export const digest = Type.Unsafe<Digest>(Type.String({ pattern: DIGEST_PATTERN }));
export const version = Type.Unsafe<Version>(Type.String({ minLength: 5, maxLength: 64 }));
export const deploymentId = Type.Unsafe<DeploymentId>(Type.String({ pattern: UUID_PATTERN }));
export const rolloutId = Type.Unsafe<RolloutId>(Type.String({ pattern: UUID_PATTERN }));
export const text = (maxLength: number) => Type.String({ maxLength });
export const count = Type.Integer({ minimum: 0 });
export const share = Type.Number({ minimum: 0, maximum: 1 });
/** Milliseconds since 1970-01-01T00:00:00Z by the sender's clock, which may be wrong. */
export const atMs = Type.Integer({ minimum: 0 });
export const attributes = Type.Record(
  Type.String({ pattern: '^[A-Za-z0-9_.-]{1,64}$' }),
  Type.String({ maxLength: 200 }),
  // Without it a name that the pattern does not know would pass, with any value.
  { additionalProperties: false },
);
export const release = Type.Object({ version, digest }, { additionalProperties: false });
