import { isDeepStrictEqual } from 'node:util';
import { toCodedErrorJson, type CodedErrorJson } from '@drover/shared/coded-error';
import { openRecoveryStatement, RECOVERY_TYPE } from '@drover/shared/protocol';
import { payloadTypeOf, type KeySet } from '@drover/shared/trust';
import { UpdateError } from './errors.js';
import type { Journal, RecoveryFact } from './journal.js';

/** Epoch and director's keys as enrolment gave them. */
export interface Enrolled {
  readonly epoch: number;
  readonly director: KeySet;
}

/** What orders are judged by: a statement of the root keys stands above what a control plane said at enrolment, unless that came later. */
export function authorityOf(enrolled: Enrolled, recovered: RecoveryFact | undefined): Enrolled {
  return recovered && recovered.epoch >= enrolled.epoch ? recovered : enrolled;
}

/** What a refusal says: a statement of newer root keys cannot hold where the root that names them was not to be had. */
export function refusalOf(
  error: unknown,
  root: { readonly version: number; readonly problem: unknown },
): CodedErrorJson {
  const { what, ...rest } = toCodedErrorJson(error);
  if (root.problem === undefined) return { ...rest, what };
  const { code, what: why } = toCodedErrorJson(root.problem);
  return {
    ...rest,
    what: `${what} It was judged by root version ${root.version}; a newer one may have been missed, since the look at the repository failed (${code}: ${why})`,
  };
}

/** Reads only the frame. What is no envelope is left to the reader of orders, which says what is wrong with it. */
export const isRecoveryStatement = (bytes: Uint8Array): boolean => payloadTypeOf(bytes) === RECOVERY_TYPE;

/**
 * Takes in a recovery statement (docs/protocol.md, section 11): signatures of the root role first, then that its epoch is above all before. The
 * same statement comes with every connection and is passed over.
 *
 * @throws TrustError, ProtocolError, UpdateError RECOVERY_REPLAYED
 */
export function acceptRecovery(
  bytes: Uint8Array,
  root: KeySet,
  enrolled: Enrolled,
  journal: Journal,
): 'accepted' | 'known' {
  const { epoch, director, issuedAt } = openRecoveryStatement(bytes, root);
  const current = authorityOf(enrolled, journal.recovery());
  if (epoch === current.epoch && isDeepStrictEqual(director, current.director)) return 'known';
  if (epoch <= current.epoch) {
    throw new UpdateError(
      'RECOVERY_REPLAYED',
      epoch === current.epoch
        ? `The recovery statement names another director for epoch ${epoch}, which is open here already.`
        : `The recovery statement opens epoch ${epoch}; it is ${current.epoch} here.`,
      {
        remedy:
          'If it is yours, make one of a higher epoch: `drover recovery request --epoch`. Else look for who publishes to the order topic of this device.',
      },
    );
  }
  journal.writeRecovery({ epoch, director }, Math.max(journal.timeFloorMs(), issuedAt));
  return 'accepted';
}
