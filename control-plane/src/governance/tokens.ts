import { randomUUID } from 'node:crypto';
import type { Db } from '../database/index.js';
import { GovernanceError } from './errors.js';
import type { Role } from './roles.js';
import { hashSecret, newSecret } from './secret.js';

export interface TokenHolder {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
}

export interface TokenSummary extends TokenHolder {
  readonly createdAt: number;
  readonly createdBy: string;
}

export interface NewToken {
  readonly name: string;
  readonly role: Role;
  readonly createdBy: string;
  readonly at: number;
  /** Only for the first administrator, whose token comes from the configuration; otherwise it is made here. */
  readonly secret?: string;
}

/** Access tokens of people and machines. Only hashes are stored; the token itself is shown once. */
export function tokens(db: Db) {
  return {
    /** @throws GovernanceError TOKEN_NAME_TAKEN */
    async create({
      name,
      role,
      createdBy,
      at,
      secret = newSecret('drover'),
    }: NewToken): Promise<{ id: string; token: string }> {
      const taken = await db.selectFrom('tokens').select('id').where('name', '=', name).executeTakeFirst();
      if (taken) {
        throw new GovernanceError('TOKEN_NAME_TAKEN', `There is a token named ${JSON.stringify(name)} already.`, {
          remedy: 'Choose another name, or delete that token first.',
        });
      }
      const id = randomUUID();
      await db
        .insertInto('tokens')
        .values({ id, name, role, token_hash: hashSecret(secret), created_at: at, created_by: createdBy })
        .execute();
      return { id, token: secret };
    },

    async holderOf(secret: string): Promise<TokenHolder | undefined> {
      return db
        .selectFrom('tokens')
        .select(['id', 'name', 'role'])
        .where('token_hash', '=', hashSecret(secret))
        .executeTakeFirst();
    },

    async list(): Promise<TokenSummary[]> {
      const rows = await db.selectFrom('tokens').selectAll().orderBy('created_at').orderBy('name').execute();
      return rows.map(({ id, name, role, created_at, created_by }) => ({
        id,
        name,
        role,
        createdAt: created_at,
        createdBy: created_by,
      }));
    },

    /** @throws GovernanceError TOKEN_UNKNOWN, TOKEN_LAST_ADMIN: nobody could let anybody in again. */
    async remove(id: string): Promise<TokenHolder> {
      const token = await db
        .selectFrom('tokens')
        .select(['id', 'name', 'role'])
        .where('id', '=', id)
        .executeTakeFirst();
      if (!token) {
        throw new GovernanceError('TOKEN_UNKNOWN', `There is no token with the id ${JSON.stringify(id)}.`, {
          remedy: 'List the tokens (GET /api/v1/tokens) and use an id from there.',
        });
      }
      if (token.role === 'admin' && (await countAdmins(db)) === 1) {
        throw new GovernanceError('TOKEN_LAST_ADMIN', 'This is the last administrator token.', {
          remedy: 'Create another token with the role admin first.',
        });
      }
      await db.deleteFrom('tokens').where('id', '=', id).execute();
      return token;
    },

    countAdmins: () => countAdmins(db),
  };
}

async function countAdmins(db: Db): Promise<number> {
  const admins = await db.selectFrom('tokens').select('id').where('role', '=', 'admin').execute();
  return admins.length;
}
