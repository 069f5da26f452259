/** Number of a file or folder; it keeps it whatever it is called. The data folder itself is 0. */
export type Node = number;
export const ROOT: Node = 0;

/** What a process did to the disk, in the order in which the kernel has done it. */
export type DiskOperation =
  /** An entry of a folder: a new file or folder, a link, or the new name in a rename. */
  | {
      readonly kind: 'add';
      readonly folder: Node;
      readonly name: string;
      readonly node: Node;
      readonly isFolder: boolean;
    }
  /** An unlink, or the old name in a rename, which `withAdd` (its index) came with. */
  | { readonly kind: 'remove'; readonly folder: Node; readonly name: string; readonly withAdd?: number }
  | { readonly kind: 'write'; readonly node: Node; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: 'truncate'; readonly node: Node; readonly size: number }
  /** fsync or fdatasync of a file or folder. It covers what ended before it began: `coversBelow` is an index. */
  | { readonly kind: 'sync'; readonly node: Node; readonly coversBelow: number; readonly site: string };

export type Change = Exclude<DiskOperation, { kind: 'sync' }>;

/** What the process told before the next operation, for example an acknowledgement. */
export interface Telling {
  /** Operations that were done by then. */
  readonly at: number;
  readonly line: string;
}

export interface Recording {
  readonly initial: DiskImage;
  readonly operations: readonly DiskOperation[];
  readonly tellings: readonly Telling[];
}

/** Folders and files of a disk. */
export interface DiskImage {
  readonly folders: ReadonlyMap<Node, ReadonlyMap<string, Node>>;
  readonly files: ReadonlyMap<Node, Uint8Array>;
}
