import type { DeviceId } from '@drover/shared/ids';
import type { InputHour } from '@drover/shared/protocol';
import type { Db } from '../database/index.js';

/** Reports carry the sums of an hour so far, and may come late: the one with more rows counts (docs/protocol.md, section 9). */
export async function storeInputHours(
  trx: Db,
  device: DeviceId,
  hours: readonly InputHour[],
  receivedAt: number,
): Promise<void> {
  for (const { model, release, adaptation, hour, rows, refusedRequests, violations } of hours) {
    const key = { device_id: device, digest: release.digest, adaptation: adaptation ?? ('' as const), hour };
    const sums = { rows, refused_requests: refusedRequests, received_at: receivedAt };
    const taken = await trx
      .insertInto('input_hours')
      .values({ ...key, model, version: release.version, ...sums })
      .onConflict((conflict) =>
        conflict
          .columns(['device_id', 'digest', 'adaptation', 'hour'])
          .doUpdateSet(sums)
          .where('input_hours.rows', '<', rows),
      )
      .returning('hour')
      .executeTakeFirst();
    if (!taken) continue;
    // A device may name a rule twice; its last word counts.
    const rules = [...new Map(violations.map((each) => [each.rule, each])).values()].map((violation) => ({
      ...key,
      rule: violation.rule,
      model,
      input: violation.input,
      feature: violation.feature ?? '',
      says: violation.says,
      rows: violation.rows,
      windows: violation.windows,
      windows_below: violation.windowsBelow,
      is_below: violation.isBelow === undefined ? null : violation.isBelow ? (1 as const) : (0 as const),
      received_at: receivedAt,
    }));
    if (rules.length === 0) continue;
    await trx
      .insertInto('input_violations')
      .values(rules)
      .onConflict((conflict) =>
        conflict.columns(['device_id', 'digest', 'adaptation', 'rule', 'hour']).doUpdateSet((row) => ({
          rows: row.ref('excluded.rows'),
          windows: row.ref('excluded.windows'),
          windows_below: row.ref('excluded.windows_below'),
          is_below: row.ref('excluded.is_below'),
          received_at: receivedAt,
        })),
      )
      .execute();
  }
}
