import SqliteDatabase from 'better-sqlite3';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { audit, type AuditVerdict } from '../../src/governance/index.js';
import { errorCode, post, startFixture, type ControlPlaneFixture } from '../control-plane-fixture.js';

let fixture: ControlPlaneFixture;
beforeEach(async () => {
  fixture = await startFixture();
});
afterEach(() => fixture.close());

async function write(count: number): Promise<void> {
  await fixture.db.transaction().execute(async (trx) => {
    for (let index = 1; index <= count; index++) {
      await audit(trx).append({
        actor: 'anna',
        action: 'test.write',
        subject: `thing-${index}`,
        detail: { index },
        at: index,
      });
    }
  });
}

/** Around the control plane, as somebody with the file could: the triggers are dropped first. */
function tamper(statement: string): void {
  const database = new SqliteDatabase(join(fixture.directory, 'control-plane.sqlite'));
  database.exec('drop trigger audit_forbids_update; drop trigger audit_forbids_delete');
  database.exec(statement);
  database.close();
}

const verification = async () =>
  (
    await fixture.app.inject({ url: '/api/v1/audit/verification', headers: await fixture.token('viewer') })
  ).json<AuditVerdict>();

describe('when nobody touched the audit log', () => {
  it('is intact, in order, and read in pages', async () => {
    expect(await audit(fixture.db).verify()).toEqual({ intact: true, entries: 0, head: '0'.repeat(64) });
    await write(1005);
    expect(await verification()).toMatchObject({ intact: true, entries: 1005 });
    const page = await fixture.app.inject({
      url: '/api/v1/audit?after=1000&limit=3',
      headers: await fixture.token('viewer'),
    });
    expect(page.json()).toMatchObject({
      items: [{ sequence: 1001 }, { sequence: 1002 }, { sequence: 1003, detail: { index: 1003 } }],
      next: 1003,
    });
  });

  it('keeps one chain when entries are written at the same time', async () => {
    await Promise.all(Array.from({ length: 20 }, () => write(1)));
    expect(await audit(fixture.db).verify()).toMatchObject({ intact: true, entries: 20 });
  });
});

describe('when somebody changes the audit log', () => {
  it('is refused by the database', async () => {
    await write(2);
    await expect(fixture.db.updateTable('audit').set({ actor: 'eve' }).execute()).rejects.toThrow('append-only');
    await expect(fixture.db.deleteFrom('audit').execute()).rejects.toThrow('append-only');
  });

  it.each([
    ['an actor', "update audit set actor = 'eve' where sequence = 3", 3],
    ['a detail', "update audit set detail = '{}' where sequence = 2", 2],
    ['a time', 'update audit set at = at + 1 where sequence = 5', 5],
    ['a removed entry', 'delete from audit where sequence = 2', 3],
    ['a hash', "update audit set hash = printf('%064d', 7) where sequence = 4", 4],
    [
      'two entries swapped',
      'update audit set sequence = 99 where sequence = 1; update audit set sequence = 1 where sequence = 2; update audit set sequence = 2 where sequence = 99',
      1,
    ],
  ])('notices %s', async (_what, statement, firstBad) => {
    await write(5);
    tamper(statement);
    expect(await verification()).toMatchObject({ intact: false, firstBad });
  });
});

describe('when tokens are managed', () => {
  it('writes both changes to the log, shows the token once, and ends it at once', async () => {
    const created = await post(fixture, 'admin', '/tokens', { name: 'ci', role: 'publisher' });
    const { id, token } = created.json() as { id: string; token: string };
    const headers = { authorization: `Bearer ${token}` };
    expect((await fixture.app.inject({ url: '/api/v1/whoami', headers })).json()).toEqual({
      name: 'ci',
      role: 'publisher',
    });
    const list = await fixture.app.inject({ url: '/api/v1/tokens', headers: await fixture.token('admin') });
    expect(list.body).not.toContain(token);
    expect(errorCode(await post(fixture, 'admin', '/tokens', { name: 'ci', role: 'viewer' }))).toBe('TOKEN_NAME_TAKEN');

    const remove = async (which: string) =>
      fixture.app.inject({ method: 'DELETE', url: `/api/v1/tokens/${which}`, headers: await fixture.token('admin') });
    expect((await remove(id)).statusCode).toBe(200);
    expect((await fixture.app.inject({ url: '/api/v1/whoami', headers })).statusCode).toBe(401);
    expect(errorCode(await remove(id))).toBe('TOKEN_UNKNOWN');
    expect((await audit(fixture.db).list()).map(({ action, actor }) => [action, actor])).toEqual([
      ['token.create', 'test admin'],
      ['token.delete', 'test admin'],
    ]);
  });

  it('keeps the last administrator', async () => {
    await fixture.token('admin');
    const [only] = await fixture.db.selectFrom('tokens').selectAll().execute();
    const answer = await fixture.app.inject({
      method: 'DELETE',
      url: `/api/v1/tokens/${only?.id ?? ''}`,
      headers: await fixture.token('admin'),
    });
    expect([answer.statusCode, errorCode(answer)]).toEqual([409, 'TOKEN_LAST_ADMIN']);
  });
});
