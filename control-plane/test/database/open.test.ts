import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDatabase, type DatabaseError } from '../../src/database/index.js';
import { tokens } from '../../src/governance/index.js';

let directory: string;
let file: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'drover-database-'));
  file = join(directory, 'data', 'control-plane.sqlite');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function filled(): Promise<void> {
  const db = await openDatabase({ file });
  await tokens(db).create({ name: 'kept', role: 'admin', createdBy: 'test', at: 1 });
  await db.destroy();
}

describe('when a database is opened', () => {
  it('is made, migrated once, and found again', async () => {
    await filled();
    const db = await openDatabase({ file });
    expect(await tokens(db).list()).toMatchObject([{ name: 'kept' }]);
    const versions = await db.selectFrom('schema_versions').select('version').orderBy('version').execute();
    expect(versions.map(({ version }) => version)).toEqual(versions.map((_, index) => index + 1));
    await db.destroy();
  });

  it('refuses rows that point nowhere', async () => {
    const db = await openDatabase({ file });
    const orphan = db.insertInto('device_attributes').values({ device_id: 'nobody' as never, name: 'a', value: 'b' });
    await expect(orphan.execute()).rejects.toThrow('FOREIGN KEY');
    await db.destroy();
  });

  it('refuses a schema that is newer than the program', async () => {
    await filled();
    await expect(openDatabase({ file, migrations: [] })).rejects.toMatchObject({ code: 'DATABASE_NEWER' });
    const db = await openDatabase({ file });
    expect(await tokens(db).list()).toHaveLength(1);
    await db.destroy();
  });

  it('undoes a migration that fails half-way', async () => {
    const { MIGRATIONS } = await import('../../src/database/migrations/index.js');
    await filled();
    const broken = {
      version: MIGRATIONS.length + 1,
      name: 'broken',
      up: async (db: Parameters<(typeof MIGRATIONS)[number]['up']>[0]) => {
        await db.schema.createTable('half').addColumn('id', 'integer').execute();
        throw new Error('cut off');
      },
    };
    await expect(openDatabase({ file, migrations: [...MIGRATIONS, broken] })).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
    });
    const db = await openDatabase({ file });
    expect((await db.introspection.getTables()).map(({ name }) => name)).not.toContain('half');
    await db.destroy();
  });
});

describe('when the file is damaged', () => {
  const damage = () => {
    const bytes = readFileSync(file);
    bytes.fill(0xff, 4096, Math.min(bytes.length, 4096 * 8));
    writeFileSync(file, bytes);
    return bytes;
  };

  it.each([
    ['pages of garbage', damage],
    ['no database at all', () => (writeFileSync(file, 'this is no database, it is a letter'), readFileSync(file))],
  ])('refuses to start with %s, changes nothing, and starts anew only when told', async (_what, spoil) => {
    await filled();
    const spoiled = spoil();
    const before = readdirSync(join(directory, 'data')).filter((name) => name.includes('corrupt'));
    await expect(openDatabase({ file })).rejects.toMatchObject({ code: 'DATABASE_CORRUPT', where: file });
    await expect(openDatabase({ file })).rejects.toThrow('damaged');
    expect(readFileSync(file).equals(spoiled)).toBe(true);
    expect(before).toEqual([]);

    const incidents: DatabaseError[] = [];
    const db = await openDatabase({ file, rebuild: true, onIncident: (incident) => incidents.push(incident) });
    expect(await tokens(db).list()).toEqual([]);
    await db.destroy();
    expect(incidents.map(({ code }) => code)).toEqual(['DATABASE_CORRUPT_REBUILT']);
    const aside = incidents[0]?.where ?? '';
    expect(aside).toContain('.corrupt-');
    expect(readFileSync(aside).equals(spoiled)).toBe(true);
  });
});

describe('when the folder cannot be made', () => {
  it('says so', async () => {
    writeFileSync(join(directory, 'data'), 'a file where a folder should be');
    await expect(openDatabase({ file })).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  });
});
