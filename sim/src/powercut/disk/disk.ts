import { createHash } from 'node:crypto';
import { linkSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, type Change, type DiskImage, type Node } from './operation.js';

/** A disk that changes are applied to. */
export class Disk implements DiskImage {
  readonly folders = new Map<Node, Map<string, Node>>();
  readonly files = new Map<Node, Uint8Array>();

  constructor(image?: DiskImage) {
    if (!image) this.folders.set(ROOT, new Map());
    for (const [node, entries] of image?.folders ?? []) this.folders.set(node, new Map(entries));
    for (const [node, bytes] of image?.files ?? []) this.files.set(node, bytes);
  }

  apply(change: Change): void {
    switch (change.kind) {
      case 'add':
        if (change.isFolder && !this.folders.has(change.node)) this.folders.set(change.node, new Map());
        if (!change.isFolder && !this.files.has(change.node)) this.files.set(change.node, new Uint8Array());
        this.#entries(change.folder).set(change.name, change.node);
        return;
      case 'remove':
        this.#entries(change.folder).delete(change.name);
        return;
      case 'write': {
        const old = this.files.get(change.node) ?? new Uint8Array();
        const bytes = new Uint8Array(Math.max(old.length, change.offset + change.bytes.length));
        bytes.set(old);
        bytes.set(change.bytes, change.offset);
        this.files.set(change.node, bytes);
        return;
      }
      case 'truncate': {
        const bytes = new Uint8Array(change.size);
        bytes.set((this.files.get(change.node) ?? new Uint8Array()).subarray(0, change.size));
        this.files.set(change.node, bytes);
        return;
      }
    }
  }

  /** A folder may have entries that are durable before its own entry is. */
  #entries(folder: Node): Map<string, Node> {
    const entries = this.folders.get(folder) ?? new Map<string, Node>();
    this.folders.set(folder, entries);
    return entries;
  }
}

/** Files and folders that can be reached, parents first. Shared memory of SQLite is left out: it is rebuilt by the first who opens (wal.html). */
function* reachable(image: DiskImage): Generator<{ path: string; node: Node; bytes: Uint8Array | undefined }> {
  const queue: { path: string; node: Node }[] = [{ path: '', node: ROOT }];
  for (let next = queue.shift(); next; next = queue.shift()) {
    for (const [name, node] of image.folders.get(next.node) ?? []) {
      if (name.endsWith('-shm')) continue;
      const path = join(next.path, name);
      const isFolder = image.folders.has(node);
      yield { path, node, bytes: isFolder ? undefined : (image.files.get(node) ?? new Uint8Array()) };
      if (isFolder) queue.push({ path, node });
    }
  }
}

/** Equal for equal disks. */
export function fingerprint(image: DiskImage): string {
  const entries = [...reachable(image)].sort((a, b) => (a.path < b.path ? -1 : 1));
  const hash = createHash('sha256');
  for (const { path, bytes } of entries) {
    hash.update(`${path}\0${bytes ? contentHash(bytes) : 'folder'}\0`);
  }
  return hash.digest('hex');
}

/** Contents are replaced and never changed, and thousands of disks of one recording share them. */
const contentHashes = new WeakMap<Uint8Array, string>();

function contentHash(bytes: Uint8Array): string {
  const known = contentHashes.get(bytes) ?? createHash('sha256').update(bytes).digest('base64');
  contentHashes.set(bytes, known);
  return known;
}

/** Lays the disk out in an empty folder; names of one file become links of one file. */
export function writeDisk(image: DiskImage, target: string): void {
  mkdirSync(target, { recursive: true });
  const written = new Map<Node, string>();
  for (const { path, node, bytes } of reachable(image)) {
    const file = join(target, path);
    const other = written.get(node);
    if (!bytes) mkdirSync(file);
    else if (other === undefined) writeFileSync(file, bytes);
    else linkSync(other, file);
    written.set(node, file);
  }
}

/** Reads a folder in; all of it counts as durable. Gives the nodes by their inode numbers, so that later operations find them. */
export function readDisk(source: string): { disk: Disk; nodeOfPath: Map<string, Node> } {
  const disk = new Disk();
  const nodeOfPath = new Map<string, Node>([[source, ROOT]]);
  const byInode = new Map<number, Node>();
  let last = ROOT;
  const visit = (folder: string, node: Node): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      const isFolder = entry.isDirectory();
      const { ino } = statSync(path);
      const known = isFolder ? undefined : byInode.get(ino);
      const child = known ?? (last += 1);
      byInode.set(ino, child);
      nodeOfPath.set(path, child);
      disk.apply({ kind: 'add', folder: node, name: entry.name, node: child, isFolder });
      if (isFolder) visit(path, child);
      else disk.files.set(child, new Uint8Array(readFileSync(path)));
    }
  };
  visit(source, ROOT);
  return { disk, nodeOfPath };
}
