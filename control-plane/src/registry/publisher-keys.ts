import { parseKeySet, type KeySet } from '@drover/shared/trust';
import type { Db } from '../database/index.js';
import { audit } from '../governance/index.js';
import { RegistryError } from './errors.js';

/**
 * The publishers' public keys, by which this control plane refuses what no device would accept anyway. Devices do not take their keys from
 * here: theirs are pinned from a file (docs/threat-model.md).
 */
export function publisherKeys(db: Db) {
  return {
    async current(): Promise<KeySet | undefined> {
      const row = await db
        .selectFrom('publisher_key_sets')
        .select('key_set')
        .orderBy('sequence', 'desc')
        .limit(1)
        .executeTakeFirst();
      return row && parseKeySet(JSON.parse(row.key_set));
    },

    /** @throws RegistryError PUBLISHER_KEYS_MISSING */
    async required(): Promise<KeySet> {
      const keys = await this.current();
      if (keys) return keys;
      throw new RegistryError(
        'PUBLISHER_KEYS_MISSING',
        'No publisher keys have been set, so no release can be checked.',
        {
          remedy:
            'Run `drover keys create --out publisher.key`, `drover keys public publisher.key > keys.json` and `drover keys trust keys.json`.',
        },
      );
    },

    /** Replaces the whole set. @throws TrustError KEY_MALFORMED */
    async replace(keySet: KeySet, by: string, at: number): Promise<void> {
      const checked = parseKeySet(keySet);
      await db.transaction().execute(async (trx) => {
        const last = await trx
          .selectFrom('publisher_key_sets')
          .select('sequence')
          .orderBy('sequence', 'desc')
          .limit(1)
          .executeTakeFirst();
        await trx
          .insertInto('publisher_key_sets')
          .values({ sequence: (last?.sequence ?? 0) + 1, key_set: JSON.stringify(checked), set_at: at, set_by: by })
          .execute();
        await audit(trx).append({
          actor: by,
          action: 'publisher-keys.replace',
          subject: 'publisher-keys',
          detail: { threshold: checked.threshold, keyIds: checked.keys.map(({ keyId }) => keyId) },
          at,
        });
      });
    },
  };
}
