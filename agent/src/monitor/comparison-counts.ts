import type { ComparisonCounts } from '@drover/shared/protocol';
import { LatencyHistogram } from '../serve/latency-histogram.js';
import type { Comparison } from '../serve/recorder.js';

type Outcome = Comparison['outcome'];
type Side = 'active' | 'candidate';

/** JSON in the table `comparisons`. */
interface Totals {
  outcomes: Partial<Record<Outcome, number>>;
  agreement?: {
    measure: string;
    /** Sum of value × compared. */
    agreed: number;
    compared: number;
    beyondTolerance: number;
    largestDifference: number;
    lowest: number;
    tenths: number[];
  };
  classes?: CountsByIndex;
  /** By bucket. */
  values?: CountsByIndex;
}
type CountsByIndex = Record<Side, Record<string, number>>;
interface StoredLatencies {
  readonly counts?: number[];
  readonly maxUs?: number;
  readonly sumUs?: number;
}

const TENTHS = 10;

/** What one reporting window has compared so far for one pair of releases. */
export class ComparisonTotals {
  readonly #totals: Totals;
  readonly #latencies: Record<Side, { readonly histogram: LatencyHistogram; sumUs: number; count: number }>;

  /** @param stored what `toJSON` gave */
  constructor(stored = '{"totals":{"outcomes":{}},"active":{},"candidate":{}}') {
    const read = JSON.parse(stored) as { readonly totals: Totals } & Record<Side, StoredLatencies>;
    const toLatencies = ({ counts = [], maxUs, sumUs = 0 }: StoredLatencies) => ({
      histogram: new LatencyHistogram(counts, maxUs),
      sumUs,
      count: counts.reduce((sum, count) => sum + count, 0),
    });
    this.#totals = read.totals;
    this.#latencies = { active: toLatencies(read.active), candidate: toLatencies(read.candidate) };
  }

  add({ outcome, agreement, activeLatencyUs, candidateLatencyUs, classes, values }: Comparison): void {
    const { outcomes } = this.#totals;
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    this.#addLatency('active', activeLatencyUs);
    this.#addLatency('candidate', candidateLatencyUs);
    if (agreement) this.#addAgreement(agreement);
    if (classes) count((this.#totals.classes ??= { active: {}, candidate: {} }), classes);
    if (values) count((this.#totals.values ??= { active: {}, candidate: {} }), values);
  }

  #addLatency(side: Side, latencyUs: number | undefined): void {
    if (latencyUs === undefined) return;
    const latencies = this.#latencies[side];
    latencies.histogram.add(latencyUs);
    latencies.sumUs += latencyUs;
    latencies.count += 1;
  }

  #addAgreement({ measure, value, compared, ...differences }: NonNullable<Comparison['agreement']>): void {
    const sum = (this.#totals.agreement ??= {
      measure,
      agreed: 0,
      compared: 0,
      beyondTolerance: 0,
      largestDifference: 0,
      lowest: 1,
      tenths: new Array<number>(TENTHS).fill(0),
    });
    sum.agreed += value * compared;
    sum.compared += compared;
    sum.beyondTolerance += differences.beyondTolerance;
    // JSON has no infinity.
    sum.largestDifference = Math.min(Number.MAX_VALUE, Math.max(sum.largestDifference, differences.largestDifference));
    sum.lowest = Math.min(sum.lowest, value);
    const tenth = Math.min(TENTHS - 1, Math.floor(value * TENTHS));
    sum.tenths[tenth] = (sum.tenths[tenth] ?? 0) + 1;
  }

  toJSON(): object {
    const { active, candidate } = this.#latencies;
    const stored = ({ histogram, sumUs }: typeof active) => ({ ...histogram.toJSON(), sumUs });
    return { totals: this.#totals, active: stored(active), candidate: stored(candidate) };
  }

  toReport(): Pick<ComparisonCounts, 'outcomes' | 'agreement' | 'latencies' | 'classes' | 'values'> {
    const { outcomes, agreement, classes, values } = this.#totals;
    const { compared = 0, answered = 0, left = 0, failed = 0, dropped = 0 } = outcomes;
    return {
      outcomes: { compared, answered, left, failed, dropped },
      ...(agreement && { agreement: toAgreement(agreement) }),
      latencies: { ...this.#latencyReport('active'), ...this.#latencyReport('candidate') },
      ...(classes && { classes }),
      ...(values && { values }),
    };
  }

  #latencyReport(side: Side): ComparisonCounts['latencies'] {
    const { histogram, sumUs, count } = this.#latencies[side];
    const [p50, p99] = [histogram.quantileUs(0.5), histogram.quantileUs(0.99)];
    if (p50 === undefined || p99 === undefined) return {};
    return { [side]: { count, meanUs: sumUs / count, p50Us: p50, p99Us: p99, maxUs: histogram.maxUs } };
  }
}

function count(counts: CountsByIndex, met: Readonly<Record<Side, Iterable<number>>>): void {
  for (const side of ['active', 'candidate'] as const)
    for (const index of met[side]) counts[side][index] = (counts[side][index] ?? 0) + 1;
}

type Agreement = NonNullable<ComparisonCounts['agreement']>;

function toAgreement({ agreed, compared, ...rest }: NonNullable<Totals['agreement']>): Agreement {
  return { ...rest, compared, mean: compared === 0 ? 1 : Math.min(1, agreed / compared) };
}
