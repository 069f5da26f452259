import type { DeviceId } from '@drover/shared/ids';
import type { Match } from './plan.js';
import type { Gate } from './request.js';

/** Labelled inferences, and how many of them were right. */
export interface Labels {
  readonly count: number;
  readonly correct: number;
}

/** One updated device and those that it is compared with. */
export interface Pair {
  readonly device: DeviceId;
  readonly controls: readonly DeviceId[];
  readonly sameStratum: boolean;
  /** Accuracy of both before this device was ordered; absent where either has too few labels. */
  readonly baseline?: { readonly device: Labels; readonly controls: Labels };
}

/** Who is compared with what; fixed when a stage begins, so that nobody chooses after having seen. */
export type Comparison =
  | { readonly mode: 'controls'; readonly pairs: readonly Pair[]; readonly baselineError: number }
  | {
      readonly mode: 'held-out';
      readonly pairs: readonly Pair[];
      readonly heldOut: { readonly accuracy: number; readonly rows: number };
      readonly baselineError: number;
    }
  | { readonly mode: 'none'; readonly pairs: readonly []; readonly reason: string }
  /** The operator asked to judge by failures alone. */
  | { readonly mode: 'not-asked'; readonly pairs: readonly []; readonly reason: string };

export interface ComparisonFacts {
  readonly metric: Gate['metric'];
  readonly matches: readonly Match[];
  /** Labels that the device itself, and that its controls together, had before it was ordered. */
  readonly baselineOf: (match: Match) => { readonly device: Labels; readonly controls: Labels };
  readonly heldOut: { readonly accuracy: number; readonly rows: number } | undefined;
}

/** With fewer labels the baseline says less than the assumption that devices of one stratum are alike. */
const MIN_BASELINE_LABELS = 20;

/** Pure. */
export function planComparison({ metric, matches, baselineOf, heldOut }: ComparisonFacts): Comparison {
  if (metric === 'failures') {
    return { mode: 'not-asked', pairs: [], reason: 'Accuracy is not judged: the gate asks about failures alone.' };
  }
  if (matches.some(({ controls }) => controls.length > 0)) {
    const pairs = matches
      .filter(({ controls }) => controls.length > 0)
      .map((match): Pair => {
        const baseline = baselineOf(match);
        const isKnown = baseline.device.count >= MIN_BASELINE_LABELS && baseline.controls.count >= MIN_BASELINE_LABELS;
        return isKnown ? { ...match, baseline } : match;
      });
    return { mode: 'controls', pairs, baselineError: baselineErrorOf(pairs) };
  }
  if (!heldOut) {
    const reason = 'No device runs an older release to compare with, and the manifest names no held-out accuracy.';
    return { mode: 'none', pairs: [], reason };
  }
  const baselineError = Math.sqrt((heldOut.accuracy * (1 - heldOut.accuracy)) / heldOut.rows);
  return { mode: 'held-out', pairs: matches.map((match) => ({ ...match })), heldOut, baselineError };
}

/**
 * Standard error of the mean of the pairs' baselines. Errors of different devices are independent; where pairs share controls, theirs are
 * taken as fully correlated, which errs on the side of caution.
 */
function baselineErrorOf(pairs: readonly Pair[]): number {
  const known = pairs.flatMap(({ baseline }) => (baseline ? [baseline] : []));
  const all = pairs.flatMap(({ controls }) => controls);
  const isShared = new Set(all).size < all.length;
  const devices = known.reduce((sum, { device }) => sum + varianceOf(device), 0);
  const controls = isShared
    ? known.reduce((sum, { controls: labels }) => sum + Math.sqrt(varianceOf(labels)), 0) ** 2
    : known.reduce((sum, { controls: labels }) => sum + varianceOf(labels), 0);
  return Math.sqrt(devices + controls) / Math.max(1, pairs.length);
}

/** Of an observed share, after adding two successes and two failures (Agresti & Coull 1998), so that 20 of 20 is not taken for certain. */
function varianceOf({ count, correct }: Labels): number {
  const share = (correct + 2) / (count + 4);
  return (share * (1 - share)) / (count + 4);
}
