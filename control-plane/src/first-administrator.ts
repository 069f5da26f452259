import type { Db } from './database/index.js';
import { audit, hashSecret, tokens } from './governance/index.js';

const CONFIGURED = 'administrator (configuration)';
const FIRST = 'first administrator';

/**
 * Sees to it that somebody can log in: by the token in the configuration (a changed one replaces its predecessor), else by one that is made at
 * the first start. Returns a token only when it was made here; it is not stored and cannot be shown again.
 */
export async function ensureAdministrator(
  db: Db,
  configured: string | undefined,
  at: number,
): Promise<string | undefined> {
  return db.transaction().execute(async (trx) => {
    const note = (action: string, name: string) =>
      audit(trx).append({ actor: 'control-plane', action, subject: name, detail: { role: 'admin' }, at });
    if (configured !== undefined) {
      if ((await tokens(trx).holderOf(configured))?.role === 'admin') return undefined;
      const replaced = await trx.deleteFrom('tokens').where('name', '=', CONFIGURED).executeTakeFirst();
      // A lesser token with this very secret would make the hash ambiguous.
      await trx.deleteFrom('tokens').where('token_hash', '=', hashSecret(configured)).execute();
      await tokens(trx).create({ name: CONFIGURED, role: 'admin', createdBy: 'control-plane', at, secret: configured });
      await note(replaced.numDeletedRows > 0n ? 'token.replace' : 'token.create', CONFIGURED);
      return undefined;
    }
    if ((await tokens(trx).countAdmins()) > 0) return undefined;
    const { token } = await tokens(trx).create({ name: FIRST, role: 'admin', createdBy: 'control-plane', at });
    await note('token.create', FIRST);
    return token;
  });
}
