import type { LabelReason } from '../../serve/label-desk.js';
import { accrue, affords, spend, type Budget } from './budget.js';

export interface LabellingSettings {
  /** Requests in 24 hours, over all models; 0: none. */
  readonly perDay: number;
  readonly maxOpen: number;
  /** So many times as many requests a day while an alarm stands. */
  readonly driftFactor: number;
  /** Of the requests that are drawn evenly. */
  readonly randomShare: number;
}

export type PerReason<Value> = Readonly<Record<LabelReason, Value>>;

export interface Standing {
  /** None before the first look. */
  readonly budgets: PerReason<Budget | undefined>;
  readonly open: PerReason<number>;
  readonly isDrifting: boolean;
  readonly nowMs: number;
}

export interface Candidate {
  readonly sample: number;
  /** Null where the model's answer was no number. */
  readonly confidence: number | null;
  /** The model is as unsure as this or more in few of its recent answers; undefined where that is not known yet. */
  readonly unsureBelow: number | undefined;
}

export interface LabelChoice {
  readonly sample: number;
  readonly reason: LabelReason;
}

/** Each reason has its own share of day and desk: what is unsure must not use up what is drawn evenly. */
export function shareOf(total: number, randomShare: number): PerReason<number> {
  const random = Math.ceil(total * randomShare);
  return { random, targeted: total - random };
}

/** What may be asked for now, and the budgets as of now. Pure. */
export function labelsWanted(
  { budgets, open, isDrifting, nowMs }: Standing,
  { perDay, maxOpen, driftFactor, randomShare }: LabellingSettings,
): { readonly wanted: PerReason<boolean>; readonly budgets: PerReason<Budget> } {
  const perDayOf = shareOf(perDay, randomShare);
  const maxOpenOf = shareOf(maxOpen, randomShare);
  const factor = isDrifting ? driftFactor : 1;
  const now = (reason: LabelReason): Budget => accrue(budgets[reason], { perDay: perDayOf[reason], factor }, nowMs);
  const accrued = { random: now('random'), targeted: now('targeted') };
  const isWanted = (reason: LabelReason): boolean => affords(accrued[reason]) && open[reason] < maxOpenOf[reason];
  return { wanted: { random: isWanted('random'), targeted: isWanted('targeted') }, budgets: accrued };
}

/**
 * At most one of each reason, so that what a day allows is spread over it. The random one is any of the candidates with the same probability,
 * whatever the model said of it; the targeted one is the one that the model was least sure of, if that is little enough. Pure.
 *
 * @param random uniform in [0, 1)
 */
export function chooseLabels(
  candidates: readonly Candidate[],
  wanted: PerReason<boolean>,
  random: () => number,
): LabelChoice[] {
  const drawn = wanted.random ? candidates[Math.floor(random() * candidates.length)] : undefined;
  let least: Candidate | undefined;
  for (const each of wanted.targeted ? candidates : []) {
    const { confidence, unsureBelow } = each;
    if (confidence === null || unsureBelow === undefined || confidence > unsureBelow || each === drawn) continue;
    if (confidence < (least?.confidence ?? Infinity)) least = each;
  }
  return [
    ...(drawn ? [{ sample: drawn.sample, reason: 'random' } as const] : []),
    ...(least ? [{ sample: least.sample, reason: 'targeted' } as const] : []),
  ];
}

/** The budgets after these choices. */
export function afterChoices(budgets: PerReason<Budget>, choices: readonly LabelChoice[]): PerReason<Budget> {
  const after = (reason: LabelReason): Budget =>
    choices.some((choice) => choice.reason === reason) ? spend(budgets[reason]) : budgets[reason];
  return { random: after('random'), targeted: after('targeted') };
}
