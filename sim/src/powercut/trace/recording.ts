import { readFileSync } from 'node:fs';
import { basename, dirname, relative } from 'node:path';
import { Disk, readDisk } from '../disk/disk.js';
import type { DiskOperation, Node, Recording, Telling } from '../disk/operation.js';
import { byteStrings, descriptorsOf, type SystemCall } from './system-call.js';

interface OpenFile {
  readonly node: Node;
  readonly path: string;
  readonly appends: boolean;
  offset: number;
}

/** Where a sync happens, by what it syncs: `fdatasync journal.db-wal`, `fsync incoming/#.partial`, `fsync launcher/versions/@/FILES`. */
const siteOf = (call: string, path: string): string =>
  `${call} ${
    path
      .replace(/[0-9a-f]{64}/g, '#')
      .replace(/\d+\.\d+\.\d+-[0-9a-f]{12}/, '@')
      .replace(/\.[0-9a-f]{12}\.tmp$/, '.tmp') || '.'
  }`;

/** `copy_file_range(18<a>, [0] => [4096], 19<b>, NULL, 4096, 0)`: the offset in the source, as copying a file gives it. */
function copiedFrom(text: string): number {
  const [, offset] = /^[^,]*, \[(\d+)\](?: => \[\d+\])?, [^,]*, NULL, /.exec(text) ?? [];
  if (offset === undefined)
    throw new Error(`copy_file_range with other offsets is not modelled: ${text.slice(0, 200)}`);
  return Number(offset);
}

/** A view of the data folder before the traced life: take it before the life begins. */
export const viewBefore = (dataDir: string): ReturnType<typeof readDisk> => readDisk(dataDir);

/**
 * Makes disk operations of system calls. Follows the names and contents of all files below the data folder, so it knows each file by itself
 * whatever it is called at the moment.
 *
 * @throws Error on a call that changes those files in a way that is not modelled
 */
export function recordingOf(
  calls: readonly SystemCall[],
  dataDir: string,
  { disk: initial, nodeOfPath: known }: ReturnType<typeof readDisk>,
  eventDescriptor: number,
): Recording {
  const operations: DiskOperation[] = [];
  const tellings: Telling[] = [];
  const nodes = new Map(known);
  const current = new Disk(initial);
  const open = new Map<number, OpenFile>();
  /** Operations that had ended at each line of the trace at which a sync began. */
  const endedAt: number[] = [];
  let last = Math.max(0, ...nodes.values());

  const isInside = (path: string): boolean => path === dataDir || path.startsWith(`${dataDir}/`);
  const nodeAt = (path: string): Node => {
    const node = nodes.get(path);
    if (node === undefined) throw new Error(`the trace uses ${path}, which it never made`);
    return node;
  };
  const perform = (operation: DiskOperation, call: SystemCall): void => {
    operations.push(operation);
    endedAt.push(call.endedAt);
    if (operation.kind !== 'sync') current.apply(operation);
  };
  const add = (path: string, node: Node, isFolder: boolean, call: SystemCall): void => {
    perform({ kind: 'add', folder: nodeAt(dirname(path)), name: basename(path), node, isFolder }, call);
    nodes.set(path, node);
  };
  const move = (from: string, to: string): void => {
    for (const [path, node] of [...nodes]) {
      if (path !== from && !path.startsWith(`${from}/`)) continue;
      nodes.delete(path);
      nodes.set(to + path.slice(from.length), node);
    }
  };
  const write = (file: OpenFile, offset: number, bytes: Uint8Array, call: SystemCall): void => {
    perform({ kind: 'write', node: file.node, offset, bytes: bytes.subarray(0, call.result) }, call);
  };
  const sizeOf = (node: Node): number => current.files.get(node)?.length ?? 0;

  function take(call: SystemCall): void {
    const { name } = call;
    const descriptors = descriptorsOf(call.arguments);
    const paths = (): string[] => byteStrings(call.arguments).map((bytes) => bytes.toString());
    const file = descriptors[0] && descriptors[0].descriptor >= 0 ? open.get(descriptors[0].descriptor) : undefined;
    switch (name) {
      case 'open':
      case 'openat':
      case 'creat': {
        const path = paths()[0] ?? '';
        open.delete(call.result);
        if (!isInside(path)) return;
        if (!nodes.has(path)) add(path, (last += 1), false, call);
        const node = nodeAt(path);
        if (/O_TRUNC/.test(call.arguments) && sizeOf(node) > 0) perform({ kind: 'truncate', node, size: 0 }, call);
        open.set(call.result, { node, path, appends: /O_APPEND/.test(call.arguments), offset: 0 });
        return;
      }
      case 'close':
        if (descriptors[0]) open.delete(descriptors[0].descriptor);
        return;
      case 'write':
      case 'writev': {
        const bytes = Buffer.concat(byteStrings(call.arguments));
        if (descriptors[0]?.descriptor === eventDescriptor) {
          for (const line of bytes.toString().split('\n'))
            if (line !== '') tellings.push({ at: operations.length, line });
          return;
        }
        if (!file) return;
        const offset = file.appends ? sizeOf(file.node) : file.offset;
        write(file, offset, bytes, call);
        file.offset = offset + call.result;
        return;
      }
      case 'pwrite64':
        if (file)
          write(
            file,
            Number(/, (\d+)$/.exec(call.arguments)?.[1]),
            byteStrings(call.arguments)[0] ?? Buffer.alloc(0),
            call,
          );
        return;
      case 'copy_file_range': {
        const [source, target] = descriptors;
        const written = open.get(target?.descriptor ?? -1);
        if (!source || !written) return;
        const from = open.get(source.descriptor);
        // What lies outside is not changed by the life that is traced, and still there.
        const content = from ? (current.files.get(from.node) ?? Buffer.alloc(0)) : readFileSync(source.path);
        const start = copiedFrom(call.arguments);
        write(written, written.offset, content.subarray(start, start + call.result), call);
        written.offset += call.result;
        return;
      }
      case 'lseek':
        if (file) file.offset = call.result;
        return;
      case 'ftruncate':
        if (file)
          perform({ kind: 'truncate', node: file.node, size: Number(/, (\d+)$/.exec(call.arguments)?.[1]) }, call);
        return;
      case 'fsync':
      case 'fdatasync': {
        if (!file) return;
        const covered = endedAt.findIndex((line) => line >= call.beganAt);
        const coversBelow = covered < 0 ? operations.length : covered;
        const site = siteOf(name, relative(dataDir, pathOf(file.node) ?? file.path));
        perform({ kind: 'sync', node: file.node, coversBelow, site }, call);
        return;
      }
      case 'rename':
      case 'renameat':
      case 'renameat2': {
        const [from = '', to = ''] = paths();
        if (!isInside(from) && !isInside(to)) return;
        const node = nodeAt(from);
        add(to, node, current.folders.has(node), call);
        const withAdd = operations.length - 1;
        perform({ kind: 'remove', folder: nodeAt(dirname(from)), name: basename(from), withAdd }, call);
        move(from, to);
        return;
      }
      case 'link':
      case 'linkat': {
        const [from = '', to = ''] = paths();
        if (isInside(to)) add(to, nodeAt(from), false, call);
        return;
      }
      case 'unlink':
      case 'unlinkat':
      case 'rmdir': {
        const path = paths()[0] ?? '';
        if (!isInside(path)) return;
        perform({ kind: 'remove', folder: nodeAt(dirname(path)), name: basename(path) }, call);
        nodes.delete(path);
        return;
      }
      case 'mkdir':
      case 'mkdirat': {
        const path = paths()[0] ?? '';
        if (isInside(path)) add(path, (last += 1), true, call);
        return;
      }
      default:
        if (descriptors.some(({ path }) => isInside(path)) || paths().some(isInside))
          throw new Error(`the system call ${name} is not modelled`);
    }
  }
  const pathOf = (node: Node): string | undefined => [...nodes].find(([, other]) => other === node)?.[0];

  for (const call of calls) take(call);
  return { initial, operations, tellings };
}
