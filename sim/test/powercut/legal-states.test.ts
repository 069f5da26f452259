import { seededRandom } from '@drover/shared/statistics';
import { describe, expect, it } from 'vitest';
import { Disk } from '../../src/powercut/disk/disk.js';
import { legalStates, type FileSystem } from '../../src/powercut/disk/legal-states.js';
import { ROOT, type DiskOperation, type Node } from '../../src/powercut/disk/operation.js';

const FILE: Node = 1;
const OLD: Node = 2;
const bytes = (text: string, repeated = 1): Uint8Array => Buffer.from(text.repeat(repeated));

const create = (name: string, node: Node): DiskOperation => ({
  kind: 'add',
  folder: ROOT,
  name,
  node,
  isFolder: false,
});
const write = (text: string, offset = 0): DiskOperation => ({ kind: 'write', node: FILE, offset, bytes: bytes(text) });
const rename = (from: string, to: string, at: number): DiskOperation[] => [
  { kind: 'add', folder: ROOT, name: to, node: FILE, isFolder: false },
  { kind: 'remove', folder: ROOT, name: from, withAdd: at },
];
const syncFile = (at: number): DiskOperation => ({ kind: 'sync', node: FILE, coversBelow: at, site: 'fsync f.tmp' });
const syncRoot = (at: number): DiskOperation => ({ kind: 'sync', node: ROOT, coversBelow: at, site: 'fsync .' });

/** Contents of the file `f` (`-` where there is none) over all states after a cut at the end. */
function contents(operations: DiskOperation[], fileSystem: FileSystem, withoutSyncs: string[] = []): string[] {
  const initial = new Disk();
  initial.apply({ kind: 'add', folder: ROOT, name: 'f', node: OLD, isFolder: false });
  initial.apply({ kind: 'write', node: OLD, offset: 0, bytes: bytes('old') });
  const recording = { initial, operations, tellings: [] };
  const options = { random: seededRandom(1), samples: 40, withoutSyncs: new Set(withoutSyncs) };
  const found = new Set<string>();
  for (const state of legalStates(recording, [operations.length], options)) {
    if (state.fileSystem !== fileSystem) continue;
    const node = state.disk.folders.get(ROOT)?.get('f');
    found.add(node === undefined ? '-' : Buffer.from(state.disk.files.get(node) ?? []).toString());
  }
  return [...found].sort();
}

const replaced = [create('f.tmp', FILE), write('new'), syncFile(2), ...rename('f.tmp', 'f', 3)];

describe.each(['posix', 'ext4'] as const)('when the power is cut on %s', (fileSystem) => {
  it('a file that was replaced durably is the new one', () => {
    expect(contents([...replaced, syncRoot(5)], fileSystem)).toEqual(['new']);
  });

  it('a file that was replaced without a sync of its folder is the old or the new one', () => {
    expect(contents(replaced, fileSystem)).toEqual(['new', 'old']);
    expect(contents([...replaced, syncRoot(5)], fileSystem, ['fsync .'])).toEqual(['new', 'old']);
  });

  it('a file that was replaced without a sync of its own may be empty', () => {
    expect(contents([...replaced, syncRoot(5)], fileSystem, ['fsync f.tmp'])).toContain('');
  });

  it('a sync covers only what was done before it began', () => {
    const late = [create('f.tmp', FILE), write('new'), syncFile(1), ...rename('f.tmp', 'f', 3), syncRoot(5)];
    expect(contents(late, fileSystem)).toContain('');
  });
});

describe('when writes were not synced', () => {
  const operations = [create('f', FILE), syncRoot(1), write('a'.repeat(512)), write('b'.repeat(1024), 512)];

  it('any of them may be missing, whole or from a sector on', () => {
    const found = contents(operations, 'posix').map((text) => text.replaceAll('\0', '0'));
    const [a, b, zero] = ['a'.repeat(512), 'b'.repeat(512), '0'.repeat(512)];
    expect(found).toEqual(expect.arrayContaining(['', a, a + b + b, zero + b + b, a + b, a + zero + b]));
  });
});

describe('when names were not synced', () => {
  const second: DiskOperation = { kind: 'add', folder: ROOT, name: 'f', node: FILE, isFolder: false };

  it('on ext4 a later name is not there without the earlier one', () => {
    const initial = new Disk();
    const recording = { initial, operations: [create('first', OLD), second], tellings: [] };
    const names = (fileSystem: FileSystem): string[] =>
      [...legalStates(recording, [2], { random: seededRandom(1), samples: 20 })]
        .filter((state) => state.fileSystem === fileSystem)
        .map(({ disk }) => [...(disk.folders.get(ROOT)?.keys() ?? [])].join());
    expect(new Set(names('ext4'))).toEqual(new Set(['first,f', 'first', '']));
    expect(new Set(names('posix'))).toEqual(new Set(['first,f', 'first', 'f', '']));
  });
});
