import { readFileSync } from 'node:fs';
import { systemCode, writeDurablySync } from '../host/index.js';

/** Numbers that are reserved ahead with one fsync. */
const BLOCK = 1000;

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

/** @param above the highest number that is known to be used, where the file is missing or unreadable */
export function openSequenceNumbers(file: string, above: number): SequenceNumbers {
  let next = readReserved(file) ?? (above === 0 ? 1 : above + BLOCK);
  let reservedBelow = next;
  const persist = (below: number) => writeDurablySync(file, `${below}\n`);
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

function readReserved(file: string): number | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  const reserved = Number(text);
  return Number.isSafeInteger(reserved) && reserved >= 1 ? reserved : undefined;
}
