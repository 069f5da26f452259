import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestHex, digestOf } from '@drover/shared/ids';
import { openBlobDirectory } from '../../src/blobs/index.js';
import { openDatabase, type Db } from '../../src/database/index.js';
import { audit } from '../../src/governance/index.js';
import { restoreBackup, takeBackup } from '../../src/recovery/index.js';
import { createSecretFile } from '../../src/secret-file.js';

const nextMacrotask = () => new Promise<void>((resolve) => setImmediate(resolve));
const never = new AbortController().signal;

describe('a backup', () => {
  let folder: string;
  let dataDir: string;
  let out: string;
  let db: Db;
  const contents = ['first', 'second', 'third'].map((text) => Buffer.from(text.repeat(1000)));
  const pathOf = (bytes: Buffer) => `blobs/${digestHex(digestOf(bytes)).slice(0, 2)}/${digestHex(digestOf(bytes))}`;
  const note = (text: string) =>
    audit(db).append({ actor: 'test', action: 'test.note', subject: text, detail: {}, at: 1 });
  const backup = (more: Partial<Parameters<typeof takeBackup>[0]> = {}) =>
    takeBackup({ dataDir, out, version: '0.0.0-test', now: () => 1000, signal: never, ...more });
  const restore = (target: string, more: Partial<Parameters<typeof restoreBackup>[0]> = {}) =>
    restoreBackup({ backup: out, dataDir: target, now: () => 2000, signal: never, ...more });
  const refusal = (code: string) => expect.objectContaining({ code }) as Error;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'drover-backup-'));
    [dataDir, out] = [join(folder, 'data'), join(folder, 'backup')];
    mkdirSync(dataDir);
    db = await openDatabase({ file: join(dataDir, 'control-plane.sqlite') });
    createSecretFile(join(dataDir, 'director.key'), 'a secret');
    writeFileSync(join(dataDir, 'lock.sqlite'), 'a lock');
    mkdirSync(join(dataDir, 'packs'));
    writeFileSync(join(dataDir, 'packs', 'gone-in-a-moment'), 'a pack');
    const blobs = await openBlobDirectory({ directory: join(dataDir, 'blobs'), maxBytes: 1e9 });
    for (const bytes of contents) await blobs.put(digestOf(bytes), Readable.from([bytes]));
  });
  afterEach(async () => {
    await db.destroy();
    await rm(folder, { recursive: true, force: true });
  });

  it('when it is taken while the database is written and put in place elsewhere, holds all that was there when it began', async () => {
    for (let entry = 0; entry < 50; entry += 1) await note(`before ${entry}`);
    const writing = { on: true };
    const writer = (async () => {
      for (let entry = 0; writing.on; entry += 1) {
        await note(`during ${entry}`);
        await nextMacrotask();
      }
    })();
    await backup();
    writing.on = false;
    await writer;
    const target = join(folder, 'restored');
    await restore(target);
    for (const bytes of contents) expect(readFileSync(join(target, pathOf(bytes)))).toEqual(bytes);
    expect(readFileSync(join(target, 'director.key'), 'utf8')).toBe('a secret');
    expect(statSync(join(target, 'director.key')).mode & 0o077).toBe(0);
    expect(['lock.sqlite', 'packs'].filter((name) => existsSync(join(target, name)))).toEqual([]);
    const restored = await openDatabase({ file: join(target, 'control-plane.sqlite') });
    const entries = await audit(restored).list({ after: 0, limit: 1000 });
    expect(entries.filter(({ subject }) => subject.startsWith('before'))).toHaveLength(50);
    expect(await audit(restored).verify()).toMatchObject({ intact: true });
    expect(await restored.selectFrom('recoveries').selectAll().execute()).toMatchObject([
      { reason: expect.stringContaining('1970-01-01T00:00:01') as string, begun_at: 2000, ended_at: null },
    ]);
    await restored.destroy();
  });

  it('when it is interrupted, it is no backup; the same call finishes it without copying whole files again', async () => {
    const stop = new AbortController();
    const paths: string[] = [];
    const interrupted = backup({
      signal: stop.signal,
      onFile: (path) => {
        paths.push(path);
        if (paths.length === 3) stop.abort(new Error('interrupted'));
      },
    });
    await expect(interrupted).rejects.toThrow('interrupted');
    await expect(restore(join(folder, 'restored'))).rejects.toThrow(refusal('BACKUP_INVALID'));
    const copied = join(out, paths.find((path) => path.startsWith('blobs/')) ?? 'none');
    const before = statSync(copied, { bigint: true }).mtimeNs;
    await backup();
    expect(statSync(copied, { bigint: true }).mtimeNs).toBe(before);
    await restore(join(folder, 'restored'));
    expect(readFileSync(join(folder, 'restored', 'director.key'), 'utf8')).toBe('a secret');
  });

  it('when a file of a release has changed on the disk, says so instead of keeping the damage', async () => {
    writeFileSync(join(dataDir, pathOf(contents[0] as Buffer)), 'damaged');
    await expect(backup()).rejects.toThrow(refusal('BACKUP_FILE_DAMAGED'));
  });

  it('when its folder holds a finished backup or anything else, touches nothing', async () => {
    await backup();
    await expect(backup()).rejects.toThrow(refusal('BACKUP_TARGET_OCCUPIED'));
    await expect(backup({ out: dataDir })).rejects.toThrow(refusal('BACKUP_TARGET_OCCUPIED'));
    await expect(backup({ dataDir: folder, out: join(folder, 'new') })).rejects.toThrow(
      refusal('BACKUP_SOURCE_MISSING'),
    );
  });

  it('when it is damaged or the target is in use, the restore leaves nothing behind', async () => {
    await backup();
    const target = join(folder, 'restored');
    await expect(restore(dataDir)).rejects.toThrow(refusal('BACKUP_TARGET_OCCUPIED'));
    writeFileSync(join(out, pathOf(contents[1] as Buffer)), 'damaged');
    await expect(restore(target)).rejects.toThrow(refusal('BACKUP_FILE_DAMAGED'));
    await rm(join(out, 'director.key'));
    await expect(restore(target)).rejects.toThrow(refusal('BACKUP_FILE_DAMAGED'));
    expect(existsSync(target)).toBe(false);
    expect(existsSync(`${target}.restoring`)).toBe(false);
  });

  it('when its description names a path that leads out of the folder, it is refused', async () => {
    const document = await backup();
    const files = [...document.files, { path: '../outside', bytes: 1, sha256: '0'.repeat(64) }];
    writeFileSync(join(out, 'backup.json'), JSON.stringify({ ...document, files }));
    await expect(restore(join(folder, 'restored'))).rejects.toThrow(refusal('BACKUP_INVALID'));
  });
});
