import type { ComparisonCounts } from '@drover/shared/protocol';
import { bucketDistance } from '@drover/shared/statistics';

type Latencies = NonNullable<ComparisonCounts['latencies']['active']>;
type Agreement = NonNullable<ComparisonCounts['agreement']>;
type Side = 'active' | 'candidate';

/** Of many windows and devices. */
export interface PooledComparison {
  readonly outcomes: ComparisonCounts['outcomes'];
  readonly agreement?: Agreement;
  readonly latencies: { readonly [Of in Side]?: PooledLatencies };
  /** Mean latency of the candidate by that of what served. In a shadow the candidate runs at the lowest priority. */
  readonly latencyRatio?: number;
  /** Of classifications: the share of the answers that would have to move to another class for both to give each as often (total variation distance). */
  readonly classShift?: number;
  /** Of regressions and anomaly scores: by how much the share of values up to some bound differs at most (Kolmogorov–Smirnov distance, over buckets of 4 %). */
  readonly valueShift?: number;
}

export interface PooledLatencies {
  readonly count: number;
  readonly meanUs: number;
  /** The largest of those of all windows. */
  readonly worstP99Us: number;
}

/** Takes the counts of many windows and devices together. Numbers of different measures are not mixed: those of the measure that was compared most count. */
export function pooledComparison(counts: readonly ComparisonCounts[]): PooledComparison {
  const outcomes = { compared: 0, answered: 0, left: 0, failed: 0, dropped: 0 };
  for (const each of counts)
    for (const outcome of Object.keys(outcomes) as (keyof typeof outcomes)[])
      outcomes[outcome] += each.outcomes[outcome];
  const agreement = pooledAgreement(counts.flatMap((each) => each.agreement ?? []));
  const active = pooledLatencies(counts.flatMap(({ latencies }) => latencies.active ?? []));
  const candidate = pooledLatencies(counts.flatMap(({ latencies }) => latencies.candidate ?? []));
  const classShift = totalVariation(countsBySide(counts, 'classes'));
  const values = countsBySide(counts, 'values');
  const valueShift = bucketDistance(values.active, values.candidate);
  return {
    outcomes,
    ...(agreement && { agreement }),
    latencies: { ...(active && { active }), ...(candidate && { candidate }) },
    ...(active && candidate && active.meanUs > 0 && { latencyRatio: candidate.meanUs / active.meanUs }),
    ...(classShift !== undefined && { classShift }),
    ...(valueShift !== undefined && { valueShift }),
  };
}

function pooledAgreement(all: readonly Agreement[]): Agreement | undefined {
  const comparedBy = new Map<string, number>();
  for (const { measure, compared } of all) comparedBy.set(measure, (comparedBy.get(measure) ?? 0) + compared);
  const [measure] = [...comparedBy].sort(([, left], [, right]) => right - left)[0] ?? [];
  if (measure === undefined) return undefined;
  const alike = all.filter((each) => each.measure === measure);
  const sum = (of: (each: Agreement) => number): number => alike.reduce((total, each) => total + of(each), 0);
  const compared = sum((each) => each.compared);
  return {
    measure,
    compared,
    mean: compared === 0 ? 1 : Math.min(1, sum((each) => each.mean * each.compared) / compared),
    lowest: Math.min(...alike.map(({ lowest }) => lowest)),
    beyondTolerance: sum((each) => each.beyondTolerance),
    largestDifference: Math.max(...alike.map(({ largestDifference }) => largestDifference)),
    tenths: Array.from({ length: 10 }, (_, tenth) => sum((each) => each.tenths[tenth] ?? 0)),
  };
}

function pooledLatencies(all: readonly Latencies[]): PooledLatencies | undefined {
  const count = all.reduce((total, each) => total + each.count, 0);
  if (count === 0) return undefined;
  return {
    count,
    meanUs: all.reduce((total, each) => total + each.meanUs * each.count, 0) / count,
    worstP99Us: Math.max(...all.map(({ p99Us }) => p99Us)),
  };
}

type CountsBySide = Readonly<Record<Side, ReadonlyMap<number, number>>>;

function countsBySide(counts: readonly ComparisonCounts[], of: 'classes' | 'values'): CountsBySide {
  const sums = { active: new Map<number, number>(), candidate: new Map<number, number>() };
  for (const each of counts) {
    for (const side of ['active', 'candidate'] as const) {
      for (const [key, count] of Object.entries(each[of]?.[side] ?? {})) {
        const index = Number(key);
        // A device may say anything.
        if (Number.isInteger(index)) sums[side].set(index, (sums[side].get(index) ?? 0) + count);
      }
    }
  }
  return sums;
}

function totalVariation({ active, candidate }: CountsBySide): number | undefined {
  const total = (counts: ReadonlyMap<number, number>): number =>
    [...counts.values()].reduce((sum, count) => sum + count, 0);
  const [ofActive, ofCandidate] = [total(active), total(candidate)];
  if (ofActive === 0 || ofCandidate === 0) return undefined;
  const differences = [...new Set([...active.keys(), ...candidate.keys()])].map((index) =>
    Math.abs((active.get(index) ?? 0) / ofActive - (candidate.get(index) ?? 0) / ofCandidate),
  );
  return differences.reduce((sum, difference) => sum + difference, 0) / 2;
}
