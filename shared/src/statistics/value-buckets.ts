/**
 * Buckets of numbers, so that distributions of many devices can be added up. They grow with the magnitude: the two ends of one are 4 % apart, so that a number in it is known within 2 %, as in DDSketch (Masson, Rim, Lee: "DDSketch: a
 * fast and fully-mergeable quantile sketch with relative-error guarantees", VLDB 2019). What is nearer to zero than 1e-9 counts as zero, what is beyond 5e25 as that.
 */
const ACCURACY = 0.02;
const LOG_GAMMA = Math.log((1 + ACCURACY) / (1 - ACCURACY));
const SMALLEST = 1e-9;
const LAST = 2_000;

/** From −2,000 to 2,000, ascending with the value; undefined for NaN. */
export function bucketOf(value: number): number | undefined {
  if (Number.isNaN(value)) return undefined;
  const magnitude = Math.abs(value);
  if (magnitude < SMALLEST) return 0;
  const index = Math.min(LAST, 1 + Math.floor(Math.log(magnitude / SMALLEST) / LOG_GAMMA));
  return value < 0 ? -index : index;
}

/**
 * Kolmogorov–Smirnov distance of two histograms: by how much the share of values up to some bound differs at most, over the bounds of buckets. In [0, 1]; undefined where one is empty.
 *
 * @param left how many values lie in each bucket
 */
export function bucketDistance(
  left: ReadonlyMap<number, number>,
  right: ReadonlyMap<number, number>,
): number | undefined {
  const total = (counts: ReadonlyMap<number, number>) => [...counts.values()].reduce((sum, count) => sum + count, 0);
  const totals = [total(left), total(right)] as const;
  if (totals[0] === 0 || totals[1] === 0) return undefined;
  const below = [0, 0];
  let distance = 0;
  for (const bucket of [...new Set([...left.keys(), ...right.keys()])].sort((a, b) => a - b)) {
    below[0] = (below[0] ?? 0) + (left.get(bucket) ?? 0);
    below[1] = (below[1] ?? 0) + (right.get(bucket) ?? 0);
    distance = Math.max(distance, Math.abs(below[0] / totals[0] - below[1] / totals[1]));
  }
  return distance;
}
