/** How a stationary series depends on its own past. */
export interface Autocorrelation {
  /** Correlation of neighbours. */
  readonly lag1: number;
  /** Integrated autocorrelation time τ = 1 + 2 Σ ρₖ, in observations: n dependent observations carry as much as n / τ independent ones. */
  readonly integratedTime: number;
}

const INDEPENDENT: Autocorrelation = { lag1: 0, integratedTime: 1 };

/**
 * Autocorrelation pooled over several series, each about its own mean: that devices differ is not dependence in time. The sum runs to the
 * last lag before max(5, √log₁₀ n) lags in a row are insignificant, |ρₖ| < 2 √(log₁₀ n / n): Politis & White, "Automatic Block-Length
 * Selection for the Dependent Bootstrap" (Econometric Reviews 2004), footnote c. Negative dependence is not credited (τ ≥ 1).
 */
export function measureAutocorrelation(series: readonly Float64Array[], maxLag: number): Autocorrelation {
  const total = series.reduce((sum, each) => sum + each.length, 0);
  const centred = series.map((each) => {
    const mean = each.reduce((sum, value) => sum + value, 0) / each.length;
    return each.map((value) => value - mean);
  });
  const atLag = (lag: number): number => centred.reduce((sum, each) => sum + laggedProducts(each, lag), 0) / total;
  const variance = atLag(0);
  if (total < 3 || !(variance > 0)) return INDEPENDENT;

  const insignificant = 2 * Math.sqrt(Math.log10(total) / total);
  const patience = Math.max(5, Math.ceil(Math.sqrt(Math.log10(total))));
  const correlations: number[] = [];
  let lastSignificant = 0;
  for (let lag = 1; lag <= maxLag && lag - lastSignificant <= patience; lag++) {
    const correlation = atLag(lag) / variance;
    correlations.push(correlation);
    if (Math.abs(correlation) >= insignificant) lastSignificant = lag;
  }
  const sum = correlations.slice(0, lastSignificant).reduce((inner, correlation) => inner + correlation, 0);
  return { lag1: correlations[0] ?? 0, integratedTime: Math.max(1, 1 + 2 * sum) };
}

function laggedProducts(centred: Float64Array, lag: number): number {
  let sum = 0;
  for (let index = lag; index < centred.length; index++) {
    sum += (centred[index] as number) * (centred[index - lag] as number);
  }
  return sum;
}
