import { Type, type Static } from 'typebox';
import { TrialTerms } from './trial.js';
import {
  atMs,
  count,
  deploymentId,
  deviceId,
  modelName,
  protocol,
  release,
  rolloutId,
  share,
  text,
} from './vocabulary.js';

export const DEPLOYMENT_TYPE = 'application/vnd.drover.deployment+json';
const strict = { additionalProperties: false } as const;

/** Bounds of the time after activation in which the device may fall back by itself. */
export const Probation = Type.Object(
  {
    /** Time that must pass in health before commit. */
    minMs: Type.Integer({ minimum: 0, maximum: 7 * 86_400_000 }),
    /** Requests that must have been served before commit; 0 where nothing may call the model. */
    minRequests: count,
    /** Commit with what there is after this time, if health holds. */
    maxMs: Type.Integer({ minimum: 0, maximum: 30 * 86_400_000 }),
    /** Share of failed requests above which the device falls back. */
    maxFailureShare: share,
    /** Crashes of the inference process that end probation. */
    maxCrashes: Type.Integer({ minimum: 1, maximum: 100 }),
  },
  strict,
);
export type Probation = Static<typeof Probation>;

/** Keeps anti-rollback intact: names the one older release that this order may go back to, and why. */
export const DowngradeGrant = Type.Object(
  { from: release, to: release, reason: text(500), expiresAt: atMs, cohort: text(100) },
  strict,
);
export type DowngradeGrant = Static<typeof DowngradeGrant>;

/**
 * The signed order "device D shall run release R" (docs/protocol.md, section 4).
 * (epoch, counter) grows with every order to one device and model; an order that is not above the last accepted one is a replay.
 */
export const Deployment = Type.Object(
  {
    protocol,
    kind: Type.Literal('deployment'),
    deploymentId,
    deviceId,
    model: modelName,
    release,
    hardwareClass: text(64),
    /** Of parameters only: the site whose values are meant. Absent for a device that was enrolled without one. */
    site: Type.Optional(text(200)),
    /** Of trials, and of no other order. */
    trial: Type.Optional(TrialTerms),
    epoch: count,
    counter: Type.Integer({ minimum: 1 }),
    nonce: Type.String({ pattern: '^[0-9a-f]{32}$' }),
    issuedAt: atMs,
    expiresAt: atMs,
    rolloutId: Type.Optional(rolloutId),
    downgrade: Type.Optional(DowngradeGrant),
    probation: Probation,
  },
  strict,
);
export type Deployment = Static<typeof Deployment>;
