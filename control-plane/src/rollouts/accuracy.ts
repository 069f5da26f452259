import type { DeviceId, Digest } from '@drover/shared/ids';
import { isRejected, meanTest, update, type MeanTestState, type VerdictName } from '@drover/shared/statistics';
import type { Comparison, Labels, Pair } from './comparison.js';
import type { Gate } from './request.js';

/** Labelled inferences of one device in one report; `report` grows in the order of arrival. */
export interface LabelledReport extends Labels {
  readonly report: number;
  readonly device: DeviceId;
  readonly digest: Digest;
}

/** One observation: index of the pair, then labelled and right of the device, then of its controls (0, 0 against held-out data). */
export type Round = readonly [
  pair: number,
  labelled: number,
  correct: number,
  controlLabelled: number,
  controlCorrect: number,
];

/** Everything that the verdict follows from; JSON. */
export interface AccuracyEvidence {
  readonly test: 'accuracy-betting/1';
  readonly candidate: Digest;
  readonly gate: Pick<Gate, 'acceptableDrop' | 'unacceptableDrop' | 'alpha' | 'beta'>;
  readonly comparison: Comparison;
  /** How far the baselines may be off, at the confidence that alpha (for FAIL) and beta (for PASS) leave for it. */
  readonly margins: { readonly fail: number; readonly pass: number };
  /** Newest report that was counted. */
  readonly through: number;
  /** Per pair: what came since its last round. */
  readonly open: readonly Round[];
  readonly rounds: readonly Round[];
  /** Betting against "the drop is acceptable" and against "the drop is unacceptable". */
  readonly worse: MeanTestState;
  readonly better: MeanTestState;
  readonly verdict: VerdictName;
  readonly reason: string;
}

/** A round closes when both sides have this many labels. Small rounds bet more often; none is ever a single inference of a single report. */
const MIN_ROUND_LABELS = 5;
/** By then either test has decided, or the gate's time is better spent otherwise. Bounds what is stored. */
const MAX_ROUNDS = 5000;

/**
 * The accuracy test of one stage. One observation is one round of one device: the change of its accuracy against its own baseline, minus the
 * concurrent change of its matched controls (difference in differences), or its accuracy minus the held-out accuracy that the publisher
 * signed, where nothing runs an older release. Observations go to two e-processes (Waudby-Smith & Ramdas 2024, shared/statistics), which
 * one may look at after every report.
 *
 * A baseline is itself an estimate, and its error stays in all observations. Half of alpha is therefore spent on a bound for it (normal
 * approximation, Agresti–Coull variance), and the margins of both tests are moved by that bound: a small baseline makes the test slow, not wrong.
 */
export function beginAccuracy(
  candidate: Digest,
  gate: AccuracyEvidence['gate'],
  comparison: Comparison,
): AccuracyEvidence {
  const { acceptableDrop, unacceptableDrop, alpha, beta } = gate;
  const spread = isJudged(comparison) ? comparison.baselineError : 0;
  const margins = { fail: normalQuantile(alpha / 2) * spread, pass: normalQuantile(beta / 2) * spread };
  const { lower, upper } = boundsOf(comparison);
  // A null hypothesis at the edge of what can be observed is as good as beyond it, and the test needs it inside.
  const inside = (mean: number) => Math.min(Math.max(mean, lower + 1e-6), upper - 1e-6);
  return {
    test: 'accuracy-betting/1',
    candidate,
    gate: { acceptableDrop, unacceptableDrop, alpha, beta },
    comparison,
    margins,
    through: 0,
    open: comparison.pairs.map((_, pair) => [pair, 0, 0, 0, 0]),
    rounds: [],
    worse: meanTest({ lower, upper, nullMean: inside(-(acceptableDrop + margins.fail)), direction: 'less' }),
    better: meanTest({ lower, upper, nullMean: inside(-(unacceptableDrop - margins.pass)), direction: 'greater' }),
    verdict: comparison.mode === 'not-asked' ? 'PASS' : 'NO_DATA',
    reason: isJudged(comparison) ? 'No labelled inference has been reported yet.' : comparison.reason,
  };
}

/** The evidence after further reports, in the order of arrival; those that were counted already are passed over. Pure. */
export function observeAccuracy(evidence: AccuracyEvidence, reports: readonly LabelledReport[]): AccuracyEvidence {
  const { comparison, candidate } = evidence;
  if (!isJudged(comparison)) return evidence;
  const open = [...evidence.open];
  const closed: Round[] = [];
  let { through } = evidence;
  for (const report of reports) {
    if (report.report <= evidence.through || report.count === 0) continue;
    through = Math.max(through, report.report);
    comparison.pairs.forEach((pair, index) => {
      const so = open[index] ?? [index, 0, 0, 0, 0];
      const isOwn = report.device === pair.device && report.digest === candidate;
      const isControl = pair.controls.includes(report.device) && report.digest !== candidate;
      if (!isOwn && !isControl) return;
      const grown: Round = isOwn
        ? [index, so[1] + report.count, so[2] + report.correct, so[3], so[4]]
        : [index, so[1], so[2], so[3] + report.count, so[4] + report.correct];
      const isComplete =
        grown[1] >= MIN_ROUND_LABELS && (comparison.mode === 'held-out' || grown[3] >= MIN_ROUND_LABELS);
      if (isComplete) closed.push(grown);
      open[index] = isComplete ? [index, 0, 0, 0, 0] : grown;
    });
  }
  return judge(closed.reduce(addRound, { ...evidence, through, open }));
}

/** The same verdict from nothing but what is stored. */
export function recomputeAccuracy(stored: AccuracyEvidence): AccuracyEvidence {
  const begun = beginAccuracy(stored.candidate, stored.gate, stored.comparison);
  return judge(stored.rounds.reduce(addRound, { ...begun, through: stored.through, open: stored.open }));
}

type Judged = Exclude<Comparison, { readonly mode: 'none' | 'not-asked' }>;

const isJudged = (comparison: Comparison): comparison is Judged =>
  comparison.mode === 'controls' || comparison.mode === 'held-out';

function addRound(evidence: AccuracyEvidence, round: Round): AccuracyEvidence {
  if (evidence.rounds.length >= MAX_ROUNDS) return evidence;
  const observed = differenceOf(evidence.comparison, round);
  return {
    ...evidence,
    rounds: [...evidence.rounds, round],
    worse: update(evidence.worse, observed),
    better: update(evidence.better, observed),
  };
}

function differenceOf(
  comparison: Comparison,
  [index, labelled, correct, controlLabelled, controlCorrect]: Round,
): number {
  const accuracy = correct / labelled;
  if (comparison.mode === 'held-out') return accuracy - comparison.heldOut.accuracy;
  return accuracy - controlCorrect / controlLabelled - gapOf(comparison.pairs[index]);
}

/** How much better the device was than its controls before the rollout; 0 where that is not known. */
const gapOf = (pair: Pair | undefined): number =>
  pair?.baseline ? accuracyOf(pair.baseline.device) - accuracyOf(pair.baseline.controls) : 0;

const accuracyOf = ({ count, correct }: Labels): number => correct / count;

/** Between which values every difference lies: the baselines are fixed, and an accuracy lies in [0, 1]. A little room for rounding. */
function boundsOf(comparison: Comparison): { lower: number; upper: number } {
  const room = 1e-9;
  if (comparison.mode === 'held-out') {
    const { accuracy } = comparison.heldOut;
    return { lower: -accuracy - room, upper: 1 - accuracy + room };
  }
  const gaps = comparison.pairs.map(gapOf);
  return { lower: -1 - Math.max(0, ...gaps) - room, upper: 1 - Math.min(0, ...gaps) + room };
}

function judge(evidence: AccuracyEvidence): AccuracyEvidence {
  const { rounds, worse, better, gate, comparison } = evidence;
  if (!isJudged(comparison) || rounds.length === 0) return evidence;
  const mean = rounds.reduce((sum, round) => sum + differenceOf(comparison, round), 0) / rounds.length;
  const change = `${mean >= 0 ? '+' : '−'}${Math.abs(mean * 100).toFixed(1)} points`;
  const against =
    comparison.mode === 'held-out'
      ? `the held-out accuracy of ${(comparison.heldOut.accuracy * 100).toFixed(1)} %`
      : 'matched devices that run an older release';
  const seen = `mean change ${change} against ${against} in ${rounds.length} rounds`;
  // Before alpha is split: with no baseline there is no error of a baseline to pay for.
  const paid = comparison.baselineError > 0 ? 2 : 1;
  if (isRejected(worse, gate.alpha / paid)) return { ...evidence, verdict: 'FAIL', reason: `Accuracy fell: ${seen}.` };
  if (isRejected(better, gate.beta / paid)) return { ...evidence, verdict: 'PASS', reason: `Accuracy held: ${seen}.` };
  return { ...evidence, verdict: 'INCONCLUSIVE', reason: `Not enough evidence about accuracy yet: ${seen}.` };
}

/** Upper quantile of the standard normal distribution; Abramowitz & Stegun, 26.2.23, absolute error below 4.5e-4. `tail` in (0, 0.5]. */
export function normalQuantile(tail: number): number {
  const t = Math.sqrt(-2 * Math.log(tail));
  return (
    t - (2.515517 + 0.802853 * t + 0.010328 * t * t) / (1 + 1.432788 * t + 0.189269 * t * t + 0.001308 * t * t * t)
  );
}
