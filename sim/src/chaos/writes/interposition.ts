import fs from 'node:fs';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { devNull } from 'node:os';
import { codeSite, type BundleSources } from './code-site.js';

/** One persisted write of the product, at the moment before it begins or after it has ended. */
export interface WritePoint {
  /** Operation and code site, for example `rename in writeDurably < storeManifest`. */
  readonly site: string;
  readonly phase: 'before' | 'after';
}

export type OnWrite = (point: WritePoint) => void;

type Method = (this: unknown, ...args: unknown[]) => unknown;
type Label = (self: unknown, args: readonly unknown[]) => string | undefined;

const SYNC = ['writeSync', 'writeFileSync', 'appendFileSync', 'fsyncSync', 'fdatasyncSync', 'renameSync', 'linkSync'];
const SYNC_MORE = ['unlinkSync', 'rmSync', 'rmdirSync', 'mkdirSync', 'copyFileSync', 'truncateSync', 'ftruncateSync'];
const PROMISED = [
  'rename',
  'link',
  'unlink',
  'rm',
  'rmdir',
  'mkdir',
  'copyFile',
  'writeFile',
  'appendFile',
  'truncate',
];
const HANDLE = ['write', 'writev', 'writeFile', 'appendFile', 'sync', 'datasync', 'truncate'];
const CALLBACK = ['write', 'writev', 'fsync', 'rename', 'unlink'];

/**
 * Tells of every write that product code makes through `node:fs`, `node:fs/promises` or SQLite statements, from now on and in this thread. It takes
 * the place of the functions themselves, so nothing in the product can bypass it or has to know of it. Call it before product code is loaded.
 */
export async function interposeWrites(
  sqliteResolvedFrom: string,
  onWrite: OnWrite,
  sources?: BundleSources,
): Promise<void> {
  const wrap = (owner: object, name: string, label: Label): void => {
    const original = Reflect.get(owner, name) as Method;
    Reflect.set(owner, name, function (this: unknown, ...args: unknown[]): unknown {
      const operation = label(this, args);
      const place = operation === undefined ? undefined : codeSite(new Error().stack ?? '', sources);
      if (operation === undefined || place === undefined) return Reflect.apply(original, this, args);
      const site = `${operation} in ${place}`;
      const after = (): void => onWrite({ site, phase: 'after' });
      onWrite({ site, phase: 'before' });
      const callback = args.at(-1);
      if (typeof callback === 'function') {
        args[args.length - 1] = (...results: unknown[]): unknown => {
          after();
          return Reflect.apply(callback as Method, undefined, results);
        };
        return Reflect.apply(original, this, args);
      }
      const result = Reflect.apply(original, this, args);
      if (!(result instanceof Promise)) {
        after();
        return result;
      }
      return result.then((value: unknown) => {
        after();
        return value;
      });
    });
  };
  const named = (name: string): Label => {
    const operation = operationOf(name);
    return () => operation;
  };
  const opening: Label = (_, [, flags]) => (typeof flags === 'string' && /[wa]/.test(flags) ? 'create' : undefined);

  const handle = await fs.promises.open(devNull, 'r');
  const handles = Reflect.getPrototypeOf(handle);
  await handle.close();
  if (handles) for (const name of HANDLE) wrap(handles, name, named(name));
  for (const name of [...SYNC, ...SYNC_MORE]) wrap(fs, name, named(name));
  for (const name of CALLBACK) wrap(fs, name, named(name));
  for (const name of PROMISED) wrap(fs.promises, name, named(name));
  wrap(fs, 'openSync', opening);
  wrap(fs.promises, 'open', opening);
  syncBuiltinESMExports();

  const Database = createRequire(sqliteResolvedFrom)('better-sqlite3') as new (file: string) => Sqlite;
  const database = new Database(':memory:');
  const statements = Reflect.getPrototypeOf(database.prepare('SELECT 1'));
  database.close();
  if (statements) wrap(statements, 'run', (self) => `sql ${verbOf((self as { readonly source: string }).source)}`);
  const databases = Database.prototype as object;
  wrap(databases, 'exec', () => 'sql script');
  // The other pragmas set what the connection does, and write nothing.
  wrap(databases, 'pragma', (_, [pragma]) =>
    /^(?:journal_mode|user_version) = /.test(String(pragma)) ? `sql pragma ${String(pragma)}` : undefined,
  );
}

interface Sqlite {
  prepare(sql: string): object;
  close(): void;
}

const operationOf = (name: string): string =>
  name
    .replace(/Sync$/, '')
    .replace(/^sync$/, 'fsync')
    .replace('datasync', 'fdatasync');

/** `INSERT INTO models`, `COMMIT`: verb and table tell the statements of one transaction apart. */
const verbOf = (sql: string): string =>
  /^\s*(?:INSERT(?: OR REPLACE)? INTO \w+|DELETE FROM \w+|UPDATE \w+|\w+)/i.exec(sql)?.[0].trim() ?? 'statement';
