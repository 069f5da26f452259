import { Type, type Static } from 'typebox';
import { KeySet } from '../trust/keys.js';
import { atMs, protocol, text } from './vocabulary.js';

export const RECOVERY_TYPE = 'application/vnd.drover.recovery+json';

/** Of devices and control planes that have never been through a recovery. */
export const FIRST_EPOCH = 1;

/**
 * "From now on, orders carry this epoch and these signatures" (docs/protocol.md, section 11). Signed by the root role's keys, so that neither
 * a stolen control plane nor a stolen director can renumber a fleet or make itself its director.
 */
export const RecoveryStatement = Type.Object(
  {
    protocol,
    kind: Type.Literal('recovery'),
    epoch: Type.Integer({ minimum: FIRST_EPOCH + 1, maximum: 1_000_000 }),
    /** Who may sign orders of this epoch. */
    director: KeySet,
    reason: text(500),
    issuedAt: atMs,
  },
  { additionalProperties: false },
);
export type RecoveryStatement = Static<typeof RecoveryStatement>;
