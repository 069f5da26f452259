import type { InputCounts, RuleViolations } from './recorder.js';

export const HOUR_MS = 3_600_000;
export const hourOf = (atMs: number): number => Math.floor(atMs / HOUR_MS);

/** Adds up what requests did to the contracts of their releases: one sum for each release or adaptation, and hour. */
export class InputTally {
  readonly #sums = new Map<string, InputCounts>();

  get isEmpty(): boolean {
    return this.#sums.size === 0;
  }

  add(counts: InputCounts): void {
    const { model, release, adaptation = '', atMs } = counts;
    const key = `${model} ${release.digest} ${adaptation} ${hourOf(atMs)}`;
    const sum = this.#sums.get(key);
    this.#sums.set(key, sum ? plus(sum, counts) : counts);
  }

  /** All sums; it begins anew. */
  take(): InputCounts[] {
    const sums = [...this.#sums.values()];
    this.#sums.clear();
    return sums;
  }
}

const plus = (sum: InputCounts, more: InputCounts): InputCounts => ({
  ...sum,
  rows: sum.rows + more.rows,
  refusedRequests: sum.refusedRequests + more.refusedRequests,
  violations: more.violations.length === 0 ? sum.violations : [...joined(sum.violations, more.violations)],
});

function joined(sums: readonly RuleViolations[], more: readonly RuleViolations[]): Iterable<RuleViolations> {
  const byRule = new Map(sums.map((each) => [each.rule, each]));
  for (const each of more) {
    const sum = byRule.get(each.rule);
    byRule.set(each.rule, sum ? { ...sum, ...newer(sum, each) } : each);
  }
  return byRule.values();
}

const newer = (sum: RuleViolations, more: RuleViolations): Partial<RuleViolations> => ({
  rows: sum.rows + more.rows,
  windows: sum.windows + more.windows,
  windowsBelow: sum.windowsBelow + more.windowsBelow,
  ...(more.share === undefined ? {} : { share: more.share, isBelow: more.isBelow ?? false }),
});
