import type { DeviceId } from '@drover/shared/ids';
import type { LabelListing, ListedLabelRequest } from '@drover/shared/protocol';
import type { Db } from '../database/index.js';

export interface ListingFacts {
  readonly deviceId: DeviceId;
  /** Of the report that the listing came with. */
  readonly sequence: number;
  /** By the clock of the device. */
  readonly at: number;
  readonly receivedAt: number;
}

/** A device may keep a request for as long (labels.expireAfterDays), whatever its clock makes of it. */
const MAX_LIFE_MS = 366 * 86_400_000;

/**
 * Takes over what a device would like labelled, in the caller's transaction. What it lists no more is forgotten, unless it was answered here: then it
 * stays until retention takes it. One device never has more rows that wait than a listing has places.
 */
export async function storeLabelListing(trx: Db, listing: LabelListing, facts: ListingFacts): Promise<void> {
  const { deviceId, sequence, at } = facts;
  const known = await trx
    .selectFrom('label_listings')
    .select(['sequence', 'at'])
    .where('device_id', '=', deviceId)
    .executeTakeFirst();
  if (known && sequence < known.sequence && at <= known.at) return;
  await trx
    .insertInto('label_listings')
    .values({ device_id: deviceId, sequence, at })
    .onConflict((conflict) => conflict.column('device_id').doUpdateSet({ sequence, at }))
    .execute();
  await trx.updateTable('label_requests').set({ is_open: 0 }).where('device_id', '=', deviceId).execute();
  const open = new Set(listing.open);
  if (open.size > 0) {
    await trx
      .updateTable('label_requests')
      .set({ is_open: 1 })
      .where('device_id', '=', deviceId)
      .where('id', 'in', [...open])
      .execute();
  }
  await trx
    .deleteFrom('label_requests')
    .where('device_id', '=', deviceId)
    .where('is_open', '=', 0)
    .where('answered_at', 'is', null)
    .execute();
  for (const request of listing.described) if (open.has(request.id)) await describe(trx, request, facts);
}

/** By the id alone, which no other device can know: what one has listed, another can't take over. */
async function describe(trx: Db, request: ListedLabelRequest, facts: ListingFacts): Promise<void> {
  const { deviceId, at, receivedAt } = facts;
  const left = Math.min(MAX_LIFE_MS, Math.max(0, request.expiresAt - at));
  const told = {
    expires_at: receivedAt + left,
    ...(request.features && { features: JSON.stringify(request.features) }),
  };
  await trx
    .insertInto('label_requests')
    .values({
      features: null,
      ...told,
      id: request.id,
      device_id: deviceId,
      model: request.model,
      version: request.version,
      request_id: request.requestId ?? null,
      row: request.row,
      reason: request.reason,
      requested_at: request.requestedAt,
      served_at: request.servedAt,
      prediction: request.prediction,
      confidence: request.confidence ?? null,
      is_open: 1,
      received_at: receivedAt,
      answered_at: null,
      answered_by: null,
      label: null,
      tried_at: null,
      became: null,
      became_at: null,
    })
    .onConflict((conflict) => conflict.column('id').doUpdateSet(told).where('label_requests.device_id', '=', deviceId))
    .execute();
}
