import type { SeededRandom } from '@drover/shared/statistics';
import { Disk } from './disk.js';
import type { Change, DiskOperation, Recording } from './operation.js';

/**
 * `posix`: nothing is durable before the fsync of that very file or folder, and what is not may survive in any order (the weakest file system of
 * Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014). `ext4`: data=ordered, where names become durable in order and any fsync takes
 * all earlier names with it.
 */
export type FileSystem = 'posix' | 'ext4';

export interface LegalState {
  readonly fileSystem: FileSystem;
  /** The power went after so many operations had been done. */
  readonly cut: number;
  /** In words, for the trace of a violation. */
  readonly survived: string;
  readonly disk: Disk;
}

export interface StateOptions {
  readonly random: SeededRandom;
  /** Random subsets of what was not durable, for each cut and file system. */
  readonly samples: number;
  /** Sites (see `siteOf`) whose syncs are taken as not made. */
  readonly withoutSyncs?: ReadonlySet<string>;
  /** Nothing between all and nothing of what was not synced. */
  readonly onlyExtremes?: boolean;
}

/** The unit that a disk writes whole. */
const SECTOR_BYTES = 512;

/** Done before the cut, and not certain to be on the disk. */
interface Pending {
  readonly index: number;
  readonly change: Change;
}

const isData = ({ change }: Pending): boolean => change.kind === 'write' || change.kind === 'truncate';
const all = (): boolean => true;
const none = (): boolean => false;

/** At most so many of the latest changes that were not durable are dropped or kept one by one; older ones go by chance. */
const MAX_SINGLED_OUT = 16;

/** Disks that may be found after a cut at each of these points of a recording; the same disk may come more than once. */
export function* legalStates(
  recording: Recording,
  cuts: Iterable<number>,
  options: StateOptions,
): Generator<LegalState> {
  const bases = { posix: durablePart(recording, 'posix', options), ext4: durablePart(recording, 'ext4', options) };
  for (const cut of cuts) {
    for (const fileSystem of ['posix', 'ext4'] as const) {
      const { base, pending } = bases[fileSystem](cut);
      for (const { survived, keeps, torn } of choices(pending, fileSystem, options)) {
        const disk = new Disk(base);
        for (const each of pending) {
          if (!keeps(each)) continue;
          if (torn?.index === each.index) for (const part of tornParts(each.change, torn.keepsSector)) disk.apply(part);
          else disk.apply(each.change);
        }
        yield { fileSystem, cut, survived, disk };
      }
    }
  }
}

/**
 * Gives for growing cuts the disk with all that was certain to be on it, and what was not. On one file or in one folder a sync takes all that was
 * done before it, so what is not durable always comes after what is.
 */
function durablePart(recording: Recording, fileSystem: FileSystem, { withoutSyncs = new Set() }: StateOptions) {
  const base = new Disk(recording.initial);
  let pending: Pending[] = [];
  let done = 0;
  return (cut: number): { base: Disk; pending: readonly Pending[] } => {
    for (; done < cut; done += 1) {
      const operation = recording.operations[done];
      if (!operation) break;
      if (operation.kind !== 'sync') pending.push({ index: done, change: operation });
      else if (!withoutSyncs.has(operation.site)) {
        const isDurable = coverage(operation, fileSystem);
        for (const each of pending) if (isDurable(each)) base.apply(each.change);
        pending = pending.filter((each) => !isDurable(each));
      }
    }
    return { base, pending };
  };
}

function coverage({ node, coversBelow, site }: Extract<DiskOperation, { kind: 'sync' }>, fileSystem: FileSystem) {
  // fdatasync may leave the journal of the file system alone when only data changed.
  const takesNames = fileSystem === 'ext4' && site.startsWith('fsync ');
  return ({ index, change }: Pending): boolean => {
    if (index >= coversBelow) return false;
    if (change.kind === 'add' || change.kind === 'remove') return takesNames || change.folder === node;
    return change.node === node;
  };
}

interface Choice {
  readonly survived: string;
  readonly keeps: (pending: Pending) => boolean;
  readonly torn?: { readonly index: number; readonly keepsSector: (sector: number) => boolean };
}

function* choices(
  pending: readonly Pending[],
  fileSystem: FileSystem,
  { random, samples, onlyExtremes }: StateOptions,
): Generator<Choice> {
  yield { survived: 'everything', keeps: all };
  if (pending.length === 0) return;
  yield { survived: 'nothing that was not synced', keeps: none };
  const data = pending.filter(isData);
  const names = pending.filter((each) => !isData(each));
  yield { survived: 'names, no data', keeps: (each) => !isData(each) };
  if (onlyExtremes) return;
  if (fileSystem === 'ext4') {
    for (const { index } of names.slice(-MAX_SINGLED_OUT)) {
      const isBefore = (each: Pending): boolean => isData(each) || each.index <= index;
      yield { survived: `names up to operation ${index}, all data`, keeps: isBefore };
      yield { survived: `names up to operation ${index}, no data`, keeps: (each) => !isData(each) && isBefore(each) };
    }
  } else {
    yield { survived: 'data, no names', keeps: isData };
    for (const { index } of pending.slice(-MAX_SINGLED_OUT)) {
      yield { survived: `all but operation ${index}`, keeps: (each) => each.index !== index && isAllowed(each, index) };
      yield {
        survived: `operation ${index} alone`,
        keeps: (each) => each.index === index || isNeededBy(each, index, pending),
      };
    }
  }
  for (const { index, change } of data.slice(-MAX_SINGLED_OUT)) {
    if (change.kind !== 'write') continue;
    const half = Math.floor(change.bytes.length / SECTOR_BYTES / 2);
    yield {
      survived: `the first half of operation ${index}`,
      keeps: all,
      torn: { index, keepsSector: (n) => n < half },
    };
    yield {
      survived: `the second half of operation ${index}`,
      keeps: all,
      torn: { index, keepsSector: (n) => n >= half && n > 0 },
    };
  }
  for (let sample = 0; sample < samples; sample += 1) {
    const chosen = new Set(pending.filter(() => random.next() < 0.5).map(({ index }) => index));
    const lastName = names[random.nextInt(Math.max(1, names.length))]?.index ?? 0;
    yield {
      survived: `random choice ${sample}`,
      keeps: (each) =>
        fileSystem === 'ext4' && !isData(each)
          ? each.index <= lastName
          : chosen.has(each.index) && isComplete(each, chosen, pending),
    };
  }
}

/** A rename never loses the old name without having the new one; a file system without that promise (FAT) is not supported. */
const isAllowed = ({ change }: Pending, dropped: number): boolean =>
  !(change.kind === 'remove' && change.withAdd === dropped);

const isNeededBy = ({ index: candidate }: Pending, kept: number, pending: readonly Pending[]): boolean => {
  const change = pending.find(({ index }) => index === kept)?.change;
  return change?.kind === 'remove' && change.withAdd === candidate;
};

const isComplete = ({ change }: Pending, chosen: ReadonlySet<number>, pending: readonly Pending[]): boolean =>
  change.kind !== 'remove' ||
  change.withAdd === undefined ||
  chosen.has(change.withAdd) ||
  !pending.some(({ index }) => index === change.withAdd);

/** A write of several sectors of which some did not reach the disk. Sectors are counted within the write: both ends of it lie in some sector. */
function* tornParts(change: Change, keepsSector: (sector: number) => boolean): Generator<Change> {
  if (change.kind !== 'write') return;
  const end = change.offset + change.bytes.length;
  let sector = 0;
  for (let from = change.offset; from < end; sector += 1) {
    const to = Math.min(end, (Math.floor(from / SECTOR_BYTES) + 1) * SECTOR_BYTES);
    const bytes = change.bytes.subarray(from - change.offset, to - change.offset);
    if (keepsSector(sector)) yield { ...change, offset: from, bytes };
    from = to;
  }
}
