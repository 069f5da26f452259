import type { DeviceId } from '@drover/shared/ids';
import { MAX_LABEL_ANSWERS, type LabelOutcome } from '@drover/shared/protocol';
import type { Db } from '../database/index.js';
import type { Director } from '../director/index.js';

export interface LabelDeliveryOptions {
  readonly db: Db;
  readonly director: Pick<Director, 'sendLabels'>;
  readonly now: () => number;
  readonly onError: (error: unknown) => void;
  /** How often it is looked for answers that nothing was heard of. */
  readonly intervalMs?: number;
  /** After which an answer is sent again. */
  readonly retryMs?: number;
}

/** Answers go to their device until it says what became of them, or the request is over. It may get one twice, which changes nothing. */
export interface LabelDelivery {
  /** What was not sent yet: after it was answered. */
  send(device: DeviceId): Promise<void>;
  /** All that waits: the device has only now begun to listen. */
  welcome(device: DeviceId): Promise<void>;
  /** What was sent so long ago that it was lost, or its device is away. */
  retry(): Promise<void>;
  /** Waits for a look that is under way. */
  close(): Promise<void>;
}

/** A look sends to so many devices at most; the others are looked at next. */
const MAX_DEVICES = 1_000;

export function startLabelDelivery(options: LabelDeliveryOptions): LabelDelivery {
  const { db, director, now, onError, intervalMs = 60_000, retryMs = 10 * 60_000 } = options;

  const waiting = () =>
    db
      .selectFrom('label_requests')
      .where('answered_at', 'is not', null)
      .where('became', 'is', null)
      .where('expires_at', '>', now());

  /** @param triedBefore those that were tried then or earlier, or never */
  async function sendWaiting(device: DeviceId, triedBefore: number): Promise<void> {
    for (let last = 0; ;) {
      const batch = await waiting()
        .select(['number', 'id', 'model', 'label'])
        .where('device_id', '=', device)
        .where((row) => row.or([row('tried_at', 'is', null), row('tried_at', '<=', triedBefore)]))
        .where('number', '>', last)
        .orderBy('number')
        .limit(MAX_LABEL_ANSWERS)
        .execute();
      const end = batch.at(-1);
      if (!end) return;
      last = end.number;
      const ids = batch.map(({ id }) => id);
      await db.updateTable('label_requests').set({ tried_at: now() }).where('id', 'in', ids).execute();
      const sent = batch.map(({ id, model, label }) => ({ id, model, label }));
      await director.sendLabels(device, sent);
    }
  }

  async function retry(): Promise<void> {
    const triedBefore = now() - retryMs;
    const devices = await waiting()
      .select('device_id')
      .distinct()
      .where((row) => row.or([row('tried_at', 'is', null), row('tried_at', '<=', triedBefore)]))
      .limit(MAX_DEVICES)
      .execute();
    for (const { device_id: device } of devices) await sendWaiting(device, triedBefore);
  }

  let looking: Promise<void> | undefined;
  const timer = setInterval(() => {
    looking ??= retry()
      .catch(onError)
      .finally(() => (looking = undefined));
  }, intervalMs);
  return {
    send: (device) => sendWaiting(device, -1),
    welcome: (device) => sendWaiting(device, Number.MAX_SAFE_INTEGER),
    retry,
    async close() {
      clearInterval(timer);
      await looking;
    },
  };
}

/** In the caller's transaction. The first word about an answer counts: a second delivery is told as `repeated`. */
export async function storeLabelOutcomes(
  trx: Db,
  device: DeviceId,
  outcomes: readonly LabelOutcome[],
  receivedAt: number,
): Promise<void> {
  for (const { id, became } of outcomes) {
    await trx
      .updateTable('label_requests')
      .set({ became, became_at: receivedAt })
      .where('id', '=', id)
      .where('device_id', '=', device)
      .where('answered_at', 'is not', null)
      .where('became', 'is', null)
      .execute();
  }
}
