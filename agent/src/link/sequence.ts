import { readFileSync } from 'node:fs';
import { systemCode, writeDurablySync } from '../host/index.js';

/** Numbers that are reserved ahead with one fsync. */
const BLOCK = 1000;
/** A device starts less often than each millisecond, and then skips a block: what it numbers stays below what the clock stands for later. Safe integers last until 2255. */
const NUMBERS_PER_MS = BLOCK;

/**
 * Numbers that never repeat, for the frame of reports (docs/protocol.md, section 5). They are reserved in blocks in a file of their own: the
 * outbox commits without fsync, so after a power cut it may have forgotten numbers that were already sent, and a repeated number would be
 * ingested as a duplicate. After an unclean stop the rest of a block is skipped; gaps carry no meaning.
 */
export interface SequenceNumbers {
  next(): number;
  /** Gives the unused rest of the block back. */
  close(): void;
}

export interface SequenceOptions {
  readonly file: string;
  /** Nothing was ever numbered here: then there is no file yet, and else it was lost. */
  readonly isFirstStart: boolean;
  /** The highest number that is known to be used, where the file is missing or damaged. */
  readonly above: number;
  /** Milliseconds since 1970: a lost file held no number that is as high as those which stand for now. */
  readonly nowMs: number;
}

export function openSequenceNumbers({ file, isFirstStart, above, nowMs }: SequenceOptions): SequenceNumbers {
  const reserved = readReserved(file) ?? (isFirstStart ? 1 : 'lost');
  // A file that is older than the reports beside it (restored, or the folder was not synced) would give out numbers that are there already.
  const isBelieved = reserved !== 'lost' && reserved > above;
  let next = isBelieved ? reserved : Math.max(above + BLOCK, nowMs * NUMBERS_PER_MS);
  let reservedBelow = next;
  const persist = (below: number) => writeDurablySync(file, `${below} ${below}\n`);
  return {
    next() {
      if (next === reservedBelow) {
        persist(next + BLOCK);
        reservedBelow = next + BLOCK;
      }
      return next++;
    },
    close() {
      if (reservedBelow !== next) persist(next);
      reservedBelow = next;
    },
  };
}

/** The number stands twice, so that a file which was cut short is not taken for a smaller number. */
function readReserved(file: string): number | 'lost' | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  const reserved = Number(/^([1-9]\d{0,15}) \1\n$/.exec(text)?.[1]);
  return Number.isSafeInteger(reserved) ? reserved : 'lost';
}
