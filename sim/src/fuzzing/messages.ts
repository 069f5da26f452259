import type { Finding } from '@drover/shared/fuzzing';

/** A target that fails at every turn says no more after so many times. */
export const MAX_FINDINGS = 20;

/** What one child process is to do. */
export interface Share {
  /** Module that exports `targets`. */
  readonly table: string;
  readonly target: string;
  readonly seed: number;
  /** Index of the first case. */
  readonly from: number;
  readonly forMs: number;
  /** Resident memory of the process at its peak. */
  readonly memoryMiB: number;
  readonly maxCpuMs: number;
  /** The child writes the index of each case there before it begins. */
  readonly heartbeatFile: string;
}

export type FromChild =
  | { readonly kind: 'finding'; readonly index: number; readonly finding: Finding }
  | { readonly kind: 'over-memory'; readonly index: number; readonly peakMiB: number }
  /** `next`: index behind the last case that was run. */
  | { readonly kind: 'done'; readonly next: number };
