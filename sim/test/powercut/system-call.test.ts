import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readDisk } from '../../src/powercut/disk/disk.js';
import { ROOT } from '../../src/powercut/disk/operation.js';
import { recordingOf } from '../../src/powercut/trace/recording.js';
import { parseTrace } from '../../src/powercut/trace/system-call.js';

const hex = (text: string): string =>
  [...Buffer.from(text)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
const quoted = (text: string): string => `"${hex(text)}"`;

function recorded(lines: (folder: string) => string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'drover-trace-'));
  try {
    return recordingOf(parseTrace(lines(folder).join('\n')), folder, readDisk(folder), 3);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('when a trace of strace is read', () => {
  it('follows a file through its rename and knows what each sync covers', () => {
    const { operations, tellings } = recorded((folder) => {
      const [tmp, file] = [`${folder}/f.tmp`, `${folder}/f`];
      return [
        `7 openat(AT_FDCWD<${hex('/')}>, ${quoted(tmp)}, O_WRONLY|O_CREAT|O_EXCL, 0644) = 20<${hex(tmp)}>`,
        `7 write(20<${hex(tmp)}>, ${quoted('hello')}, 5) = 5`,
        `8 fsync(20<${hex(tmp)}> <unfinished ...>`,
        `7 write(20<${hex(tmp)}>, ${quoted('!')}, 1) = 1`,
        `8 <... fsync resumed>)             = 0`,
        `7 write(3<${hex('socket:[1]')}>, ${quoted('{"event":"x"}\n')}, 14) = 14`,
        `7 rename(${quoted(tmp)}, ${quoted(file)}) = 0`,
        `7 rename(${quoted(tmp)}, ${quoted(file)}) = -1 ENOENT (No such file or directory)`,
        `7 openat(AT_FDCWD<${hex('/')}>, ${quoted(folder)}, O_RDONLY|O_DIRECTORY) = 21<${hex(folder)}>`,
        `7 fsync(21<${hex(folder)}>) = 0`,
      ];
    });
    expect(operations).toEqual([
      { kind: 'add', folder: ROOT, name: 'f.tmp', node: 1, isFolder: false },
      { kind: 'write', node: 1, offset: 0, bytes: Buffer.from('hello') },
      { kind: 'write', node: 1, offset: 5, bytes: Buffer.from('!') },
      // It began before the second write did.
      { kind: 'sync', node: 1, coversBelow: 2, site: 'fsync f.tmp' },
      { kind: 'add', folder: ROOT, name: 'f', node: 1, isFolder: false },
      { kind: 'remove', folder: ROOT, name: 'f.tmp', withAdd: 4 },
      { kind: 'sync', node: ROOT, coversBelow: 6, site: 'fsync .' },
    ]);
    expect(tellings).toEqual([{ at: 4, line: '{"event":"x"}' }]);
  });

  it('knows what a copy within the kernel has written, part by part, from a file inside or outside', () => {
    const { operations } = recorded((folder) => {
      const [from, to] = [`${folder}/from`, `${folder}/to`];
      const opened = (path: string, descriptor: number) =>
        `7 openat(AT_FDCWD<${hex('/')}>, ${quoted(path)}, O_RDWR|O_CREAT) = ${descriptor}<${hex(path)}>`;
      const own = import.meta.filename;
      return [
        opened(from, 20),
        `7 write(20<${hex(from)}>, ${quoted('hello')}, 5) = 5`,
        opened(to, 21),
        `7 copy_file_range(20<${hex(from)}>, [0] => [3], 21<${hex(to)}>, NULL, 5, 0) = 3`,
        `7 copy_file_range(20<${hex(from)}>, [3] => [5], 21<${hex(to)}>, NULL, 2, 0) = 2`,
        `7 copy_file_range(22<${hex(own)}>, [0], 21<${hex(to)}>, NULL, 6, 0) = 6`,
      ];
    });
    const written = operations.flatMap((operation) =>
      operation.kind === 'write' ? [[operation.offset, Buffer.from(operation.bytes).toString()]] : [],
    );
    expect(written).toEqual([
      [0, 'hello'],
      [0, 'hel'],
      [3, 'lo'],
      [5, 'import'],
    ]);
  });

  it('refuses what it does not model, and data that strace cut short', () => {
    expect(() =>
      recorded((folder) => [
        `7 openat(AT_FDCWD<${hex('/')}>, ${quoted(`${folder}/f`)}, O_RDWR|O_CREAT) = 20<${hex(`${folder}/f`)}>`,
        `7 fallocate(20<${hex(`${folder}/f`)}>, 0, 0, 4096) = 0`,
      ]),
    ).toThrow('fallocate is not modelled');
    expect(() =>
      recorded((folder) => [
        `7 openat(AT_FDCWD<${hex('/')}>, ${quoted(`${folder}/f`)}, O_RDWR|O_CREAT) = 20<${hex(`${folder}/f`)}>`,
        `7 write(20<${hex(`${folder}/f`)}>, ${quoted('ab')}..., 4096) = 4096`,
      ]),
    ).toThrow('cut a string short');
  });
});
