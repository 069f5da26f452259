import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { toWriteError, writeDurably, writeDurablySync } from '../../src/host/index.js';

let folder: string;
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'drover-durable-'))));
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('when a file is written durably', () => {
  it.each([
    ['asynchronously', writeDurably],
    [
      'synchronously',
      (...parts: Parameters<typeof writeDurablySync>) => {
        writeDurablySync(...parts);
        return Promise.resolve();
      },
    ],
  ])('replaces it %s, with its mode, and leaves no temporary file', async (_how, write) => {
    const file = join(folder, 'secret.json');
    await write(file, 'old and longer', 0o600);
    await write(file, 'new', 0o600);
    expect(await readFile(file, 'utf8')).toBe('new');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(folder)).toEqual(['secret.json']);
  });

  // A device file that is always full is the one way to get a real ENOSPC without privileges; writing it needs no folder of ours.
  it.runIf(existsSync('/dev/full'))('says that the disk is full', async () => {
    const { open } = await import('node:fs/promises');
    const handle = await open('/dev/full', 'w');
    const error: unknown = await handle.writeFile('x').catch((reason: unknown) => reason);
    await handle.close();
    expect(toWriteError(error, '/dev/full')).toMatchObject({ code: 'HOST_DISK_FULL', where: '/dev/full' });
  });

  it('names a folder that does not exist by its system error', async () => {
    await expect(writeDurably(join(folder, 'missing', 'file'), 'x')).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
