import { FIRST_EPOCH, openRecoveryStatement } from '@drover/shared/protocol';
import type { KeySet } from '@drover/shared/trust';
import type { Db } from '../database/index.js';
import { RecoveryError } from './errors.js';
import {
  highestReportedEpoch,
  newestStatement,
  pendingRecovery,
  storeStatement,
  type PendingRecovery,
} from './history.js';

export interface RecoveryOptions {
  readonly db: Db;
  /** Keys and threshold of the root role, which signs statements. */
  readonly rootKeys: () => Promise<KeySet>;
  /** This control plane's own; a statement that does not name it would silence it. */
  readonly director: KeySet;
  readonly now: () => number;
}

export interface RecoveryView {
  readonly epoch: number;
  readonly pending?: PendingRecovery;
  /** What a statement has to say for this control plane to take it. */
  readonly next: { readonly epoch: number; readonly director: KeySet };
}

/** Whether this control plane may give orders, and under which epoch (docs/protocol.md, section 11). */
export interface Recovery {
  epoch(): number;
  isPending(): boolean;
  /** @throws RecoveryError RECOVERY_PENDING */
  verifyEnded(): void;
  /** The statement that devices need before they take orders of this epoch. */
  statement(): Buffer | undefined;
  view(): Promise<RecoveryView>;
  /** @throws RecoveryError RECOVERY_STATEMENT_REFUSED; TrustError, ProtocolError. The same statement again is harmless. */
  install(envelope: Uint8Array, by: string): Promise<void>;
}

const HOUR_MS = 3_600_000;

/** How far above the hours a device may say that epochs have come: one that lies must not use them up. */
const MAX_RESTORES_IN_A_ROW = 24;

/**
 * Above every epoch that this control plane ever had, also those that a restored backup does not know of: two statements of one epoch would be
 * one to devices, and they would take the orders of the second for replays. Hours tell apart what was restored in different ones; within an hour,
 * devices know what they were ordered. Not finer than hours: agents take no epoch above a million.
 */
async function nextEpoch(db: Db, epoch: number, nowMs: number): Promise<number> {
  const hours = Math.floor(nowMs / HOUR_MS);
  const reported = await highestReportedEpoch(db, Math.max(epoch, hours) + MAX_RESTORES_IN_A_ROW);
  return Math.max(epoch + 1, hours, (reported ?? 0) + 1);
}

export async function openRecovery({ db, rootKeys, director, now }: RecoveryOptions): Promise<Recovery> {
  let pending = await pendingRecovery(db);
  let installed = await newestStatement(db);
  const epoch = () => installed?.epoch ?? FIRST_EPOCH;

  return {
    epoch,
    isPending: () => pending !== undefined,
    verifyEnded() {
      if (!pending) return;
      throw new RecoveryError('RECOVERY_PENDING', `This control plane gives no orders yet: ${pending.reason}.`, {
        remedy:
          'Let the holders of the root keys sign what `drover recovery request` writes, and install it with `drover recovery install`.',
      });
    },
    statement: () => (installed ? Buffer.from(installed.envelope, 'utf8') : undefined),
    view: async () => ({
      epoch: epoch(),
      ...(pending && { pending }),
      next: { epoch: await nextEpoch(db, epoch(), now()), director },
    }),
    async install(envelope, by) {
      const text = Buffer.from(envelope).toString('utf8');
      if (text === installed?.envelope) return;
      const statement = openRecoveryStatement(envelope, await rootKeys());
      if (statement.epoch <= epoch()) throw refused(`its epoch ${statement.epoch} is not above ${epoch()}`);
      const named = new Set(statement.director.keys.map(({ keyId }) => keyId));
      if (director.keys.some(({ keyId }) => !named.has(keyId)) || statement.director.threshold > director.keys.length) {
        throw refused('devices would not believe orders of this control plane any more: its director key is not in it');
      }
      await storeStatement(db, { statement, envelope: text, by, at: now() });
      installed = { epoch: statement.epoch, envelope: text };
      pending = undefined;
    },
  };
}

const refused = (why: string) =>
  new RecoveryError('RECOVERY_STATEMENT_REFUSED', `The recovery statement is not taken: ${why}.`, {
    remedy: 'Write a new one with `drover recovery request`, and have it signed.',
  });
