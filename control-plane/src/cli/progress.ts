import { digestHex, type Digest } from '@drover/shared/ids';
import { formatBytes } from './terminal.js';

/** Where long work is told of, a line at a time; nowhere with --json. */
export type Progress = (line: string) => void;

export interface FileTold {
  /** From 1. */
  readonly at: number;
  readonly of: number;
  readonly digest: Digest;
  readonly bytes: number;
}

/** `[3/7] 0a1b2c3d4e5f  1.5 GiB  uploaded`. */
export const fileLine = ({ at, of, digest, bytes }: FileTold, what: string): string =>
  `[${at}/${of}] ${digestHex(digest).slice(0, 12)}  ${formatBytes(bytes)}  ${what}`;

const TOLD_EVERY_BYTES = 256 * 1024 ** 2;

/** For large files, which take minutes: a line for each so many bytes of all that was done. */
export function byteTeller(progress: Progress, what: string): (bytes: number) => void {
  let told = 0;
  return (bytes) => {
    if (bytes - told < TOLD_EVERY_BYTES) return;
    told = bytes;
    progress(`${formatBytes(bytes)} ${what}`);
  };
}
