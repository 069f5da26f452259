import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type DatabaseError, openSqlite, toDatabaseError } from '../../src/database/index.js';

let folder: string;
let file: string;
const rebuilt: DatabaseError[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'drover-sqlite-'));
  file = join(folder, 'some.db');
  rebuilt.length = 0;
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const migrations = [
  'CREATE TABLE notes (text TEXT) STRICT',
  "ALTER TABLE notes ADD COLUMN author TEXT DEFAULT 'nobody'",
];
const open = (scripts = migrations) =>
  openSqlite({
    file,
    pragmas: { synchronous: 'FULL' },
    migrations: scripts,
    nowMs: () => 1234,
    onRebuilt: (error) => rebuilt.push(error),
  });

describe('when a database is opened', () => {
  it('brings an older schema forward and keeps its rows', () => {
    const old = open(migrations.slice(0, 1));
    old.exec("INSERT INTO notes VALUES ('kept')");
    old.close();
    const database = open();
    expect(database.prepare('SELECT * FROM notes').all()).toEqual([{ text: 'kept', author: 'nobody' }]);
    expect(database.pragma('synchronous', { simple: true })).toBe(2);
    database.close();
  });

  it('uses what a newer agent that was taken back has added to, and leaves it there', () => {
    const newer = open();
    newer.exec("INSERT INTO notes (text, author) VALUES ('kept', 'the newer agent')");
    newer.close();
    const database = open(migrations.slice(0, 1));
    database.exec("INSERT INTO notes (text) VALUES ('more')");
    expect(database.pragma('user_version', { simple: true })).toBe(2);
    database.close();
    const again = open();
    expect(again.prepare('SELECT author FROM notes').pluck().all()).toEqual(['the newer agent', 'nobody']);
    again.close();
  });

  it('leaves the file alone when its schema is of another generation', async () => {
    const newer = open();
    newer.pragma('user_version = 1000');
    newer.close();
    const before = await readFile(file);
    expect(() => open()).toThrow(expect.objectContaining({ code: 'DATABASE_SCHEMA_NEWER' }) as Error);
    expect(await readFile(file)).toEqual(before);
  });

  it('undoes a migration that fails half-way', () => {
    open(migrations.slice(0, 1)).close();
    expect(() => open([...migrations.slice(0, 1), 'CREATE TABLE half (x); SELECT nonsense'])).toThrow('nonsense');
    const database = open();
    expect(database.prepare("SELECT name FROM sqlite_master WHERE name = 'half'").all()).toEqual([]);
    database.close();
  });

  it.each([
    ['is no database at all', () => Buffer.alloc(8192, 'not sqlite ')],
    [
      'has a damaged page',
      (bytes: Buffer) => Buffer.concat([bytes.subarray(0, 4096), Buffer.alloc(bytes.length - 4096, 0xff)]),
    ],
  ])('keeps a file aside that %s, builds a new one and reports it', async (_what, damage) => {
    const database = open();
    for (let row = 0; row < 500; row += 1) database.exec("INSERT INTO notes VALUES ('a row that fills pages', 'x')");
    database.close();
    const damaged = damage(await readFile(file));
    await writeFile(file, damaged);
    const fresh = open();
    expect(fresh.prepare('SELECT count(*) AS rows FROM notes').get()).toEqual({ rows: 0 });
    fresh.close();
    expect(rebuilt).toMatchObject([{ code: 'DATABASE_REBUILT', where: `${file}.corrupt-1234` }]);
    expect(await readdir(folder)).toContain('some.db.corrupt-1234');
    expect(await readFile(`${file}.corrupt-1234`)).toHaveLength(damaged.length);
  });

  it('says so when the folder does not exist', () => {
    file = join(folder, 'missing', 'some.db');
    expect(open).toThrow(/directory does not exist|cannot be used/);
  });
});

describe('when a statement fails', () => {
  it('gives a full disk its code', () => {
    const database = open();
    database.pragma('max_page_count = 4');
    let caught: unknown;
    try {
      for (;;) database.exec(`INSERT INTO notes VALUES ('${'x'.repeat(2000)}', 'y')`);
    } catch (error) {
      caught = toDatabaseError(error, file);
    }
    database.close();
    expect(caught).toMatchObject({ code: 'DATABASE_DISK_FULL', where: file, retryable: true });
  });

  it('passes on what did not come from SQLite', () => {
    const error = new Error('other');
    expect(toDatabaseError(error, file)).toBe(error);
  });
});
