import type { Tolerance } from '../tensors/index.js';

/** How far two answers to the same inputs agree. */
export interface Agreement {
  /** What `value` is a share of. */
  readonly measure: 'same-class' | 'within-tolerance' | 'box-f1' | 'mean-iou' | 'same-side' | 'equal-elements';
  /** 0 to 1; 1 where nothing was there to compare. */
  readonly value: number;
  /** What was compared: rows, values, boxes of both sides, pixels or elements. The weight of `value` where several are taken together. */
  readonly compared: number;
  /** How many of those that were held against each other differ by more than the tolerance, in probability, score or value. Classes of pixels have none. */
  readonly beyondTolerance: number;
  /** Of the same numbers. */
  readonly largestDifference: number;
  /** More, by the task. */
  readonly details: Readonly<Record<string, number>>;
}

export interface AgreementOptions {
  /** For values, scores and probabilities. */
  readonly tolerance: Tolerance;
}

/** The counts of several agreements as one: their mean, weighted by what was compared. The F1 of boxes is that of all boxes together. */
export function pooled(agreements: readonly Agreement[]): Omit<Agreement, 'measure' | 'details'> {
  const compared = agreements.reduce((sum, each) => sum + each.compared, 0);
  const agreed = agreements.reduce((sum, each) => sum + each.value * each.compared, 0);
  return {
    value: compared === 0 ? 1 : agreed / compared,
    compared,
    beyondTolerance: agreements.reduce((sum, each) => sum + each.beyondTolerance, 0),
    largestDifference: agreements.reduce((largest, each) => Math.max(largest, each.largestDifference), 0),
  };
}

/**
 * Whether answers that are not within the tolerance element by element agree enough by the measure of their task (docs/protocol.md, section 3). What holds nothing that could be compared never does.
 *
 * @param minimum as the contract states it; everything has to agree unless given
 */
export const agreesEnough = (
  { value, compared, beyondTolerance }: Pick<Agreement, 'value' | 'compared' | 'beyondTolerance'>,
  minimum: number | undefined,
): boolean => compared > 0 && (minimum === undefined ? value === 1 && beyondTolerance === 0 : value >= minimum);
