import { clopperPearson, mcNemarTest } from '@drover/shared/statistics';

export type GateVerdict = 'PASS' | 'FAIL' | 'INCONCLUSIVE' | 'NO_DATA';

/** Per example of one set, 1 where the model was right; the same examples in the same order before and after. */
export interface PairedCorrectness {
  readonly before: Uint8Array;
  readonly after: Uint8Array;
}

export interface AdaptationEvidence {
  /** Recent labelled examples that took no part in training. */
  readonly holdout: PairedCorrectness;
  /** Sealed examples of the original task. */
  readonly anchor: PairedCorrectness;
  /** Whether the adaptation keeps the golden-vector contract; absent when that was not tried. */
  readonly goldenOk?: boolean;
  /** Judged where measured. */
  readonly latency?: { readonly measuredMs: number; readonly maxMs: number };
}

/** From the recipe that the publisher signed (manifest: recipe.bounds). Shares of examples, 0 to 1. */
export interface AdaptationBounds {
  readonly minImprovement: number;
  readonly maxForgetting: number;
  /** Chance that a set of examples lets a change pass which does not deserve it. */
  readonly alpha: number;
}

/** Counts that are enough to compute the verdict again, and what was computed from them. */
export interface PairedComparison {
  readonly count: number;
  readonly accuracyBefore: number;
  readonly accuracyAfter: number;
  readonly onlyAfterRight: number;
  readonly onlyBeforeRight: number;
  /** Accuracy after minus before, with bounds that each hold with probability 1 − alpha. */
  readonly change: number;
  readonly changeLower: number;
  readonly changeUpper: number;
  /** Exact one-sided McNemar test for "better". */
  readonly pValue: number;
}

export interface GateCheck {
  readonly name: 'better-on-holdout' | 'remembers-anchor' | 'golden-vectors' | 'latency';
  readonly verdict: GateVerdict;
  readonly reason: string;
}

export interface AdaptationJudgement {
  readonly verdict: GateVerdict;
  readonly checks: readonly GateCheck[];
  readonly holdout: PairedComparison;
  readonly anchor: PairedComparison;
  readonly bounds: AdaptationBounds;
}

/**
 * Whether a fine-tuned model may take the place of the one it came from: it must be better on recent examples *and* not forget *and* keep its
 * contracts. One FAIL fails; then missing data and then doubt prevail over PASS. Pure: the same evidence always gives the same judgement.
 *
 * Better: exact one-sided McNemar test (McNemar 1947; shared `mcNemarTest`) at alpha, and an observed change of at least minImprovement.
 * Remembers: the lower confidence bound of the change on the anchor set is at least −maxForgetting, so that a small set cannot pass by luck.
 */
export function judgeAdaptation(evidence: AdaptationEvidence, bounds: AdaptationBounds): AdaptationJudgement {
  const holdout = comparePaired(evidence.holdout, bounds.alpha);
  const anchor = comparePaired(evidence.anchor, bounds.alpha);
  const checks: GateCheck[] = [
    judgeHoldout(holdout, bounds),
    judgeAnchor(anchor, bounds),
    judgeGolden(evidence.goldenOk),
  ];
  if (evidence.latency) checks.push(judgeLatency(evidence.latency));
  const worst = (['FAIL', 'NO_DATA', 'INCONCLUSIVE'] as const).find((verdict) =>
    checks.some((check) => check.verdict === verdict),
  );
  return { verdict: worst ?? 'PASS', checks, holdout, anchor, bounds };
}

/**
 * The change of accuracy is (b − c) / n, with b and c the discordant pairs of either kind. Each bound takes exact Clopper-Pearson limits of b / n and
 * c / n at alpha / 2 (Bonferroni), so its coverage is at least 1 − alpha for every n; it is conservative where both are frequent.
 */
export function comparePaired({ before, after }: PairedCorrectness, alpha: number): PairedComparison {
  if (before.length !== after.length)
    throw new RangeError('Paired correctness needs the same examples before and after.');
  const count = before.length;
  const onlyAfterRight = after.reduce((sum, right, index) => sum + (right === 1 && before[index] === 0 ? 1 : 0), 0);
  const onlyBeforeRight = before.reduce((sum, right, index) => sum + (right === 1 && after[index] === 0 ? 1 : 0), 0);
  const limits = (successes: number) =>
    count === 0 ? { lower: 0, upper: 1 } : clopperPearson({ successes, trials: count, confidence: 1 - alpha });
  const gained = limits(onlyAfterRight);
  const lost = limits(onlyBeforeRight);
  const right = (correctness: Uint8Array) => correctness.reduce((sum, one) => sum + one, 0);
  return {
    count,
    accuracyBefore: count === 0 ? 0 : right(before) / count,
    accuracyAfter: count === 0 ? 0 : right(after) / count,
    onlyAfterRight,
    onlyBeforeRight,
    change: count === 0 ? 0 : (onlyAfterRight - onlyBeforeRight) / count,
    changeLower: gained.lower - lost.upper,
    changeUpper: gained.upper - lost.lower,
    pValue: mcNemarTest({ onlyCandidateRight: onlyAfterRight, onlyBaselineRight: onlyBeforeRight }),
  };
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

function judgeHoldout(found: PairedComparison, { minImprovement, alpha }: AdaptationBounds): GateCheck {
  const name = 'better-on-holdout';
  if (found.count === 0) return { name, verdict: 'NO_DATA', reason: 'no held-out examples' };
  const facts = `${percent(found.accuracyBefore)} → ${percent(found.accuracyAfter)} on ${found.count} held-out examples, p = ${found.pValue.toPrecision(2)}`;
  if (found.changeUpper < Math.max(minImprovement, Number.MIN_VALUE)) {
    return { name, verdict: 'FAIL', reason: `${facts}: shown to gain less than ${percent(minImprovement)}` };
  }
  if (found.pValue <= alpha && found.change >= minImprovement) return { name, verdict: 'PASS', reason: facts };
  return {
    name,
    verdict: 'INCONCLUSIVE',
    reason: `${facts}: not shown to gain ${percent(minImprovement)} at level ${alpha}`,
  };
}

function judgeAnchor(found: PairedComparison, { maxForgetting }: AdaptationBounds): GateCheck {
  const name = 'remembers-anchor';
  if (found.count === 0) return { name, verdict: 'NO_DATA', reason: 'no anchor examples' };
  const facts =
    `${percent(found.accuracyBefore)} → ${percent(found.accuracyAfter)} on ${found.count} anchor examples, ` +
    `loss at most ${percent(Math.max(0, -found.changeLower))}`;
  if (-found.changeLower <= maxForgetting) return { name, verdict: 'PASS', reason: facts };
  if (-found.changeUpper > maxForgetting) {
    return { name, verdict: 'FAIL', reason: `${facts}: shown to forget more than ${percent(maxForgetting)}` };
  }
  return {
    name,
    verdict: 'INCONCLUSIVE',
    reason: `${facts}: a loss of more than ${percent(maxForgetting)} is not ruled out`,
  };
}

function judgeGolden(goldenOk: boolean | undefined): GateCheck {
  const name = 'golden-vectors';
  if (goldenOk === undefined) return { name, verdict: 'NO_DATA', reason: 'golden vectors were not tried' };
  return goldenOk
    ? { name, verdict: 'PASS', reason: 'the golden-vector contract holds' }
    : { name, verdict: 'FAIL', reason: 'the golden-vector contract is broken' };
}

function judgeLatency({ measuredMs, maxMs }: { readonly measuredMs: number; readonly maxMs: number }): GateCheck {
  const within = measuredMs <= maxMs;
  return {
    name: 'latency',
    verdict: within ? 'PASS' : 'FAIL',
    reason: `${measuredMs} ms, at most ${maxMs} ms allowed`,
  };
}
