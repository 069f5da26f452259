import { describe, expect, it } from 'vitest';
import { measureAutocorrelation } from '../../src/statistics/autocorrelation.js';
import { seededRandom } from '../../src/statistics/index.js';

function firstOrder(rho: number, length: number, seed: number, offset = 0): Float64Array {
  const random = seededRandom(seed);
  let value = random.normal();
  return Float64Array.from({ length }, () => {
    value = rho * value + Math.sqrt(1 - rho * rho) * random.normal();
    return offset + value;
  });
}

describe('when the autocorrelation of a series is measured', () => {
  it.each([
    [0.5, 3],
    [0.8, 9],
  ])('finds ρ and τ = (1 + ρ)/(1 − ρ) of AR(1) with ρ = %f', (rho, integratedTime) => {
    const measured = measureAutocorrelation([firstOrder(rho, 50_000, 5)], 200);
    expect(measured.lag1).toBeCloseTo(rho, 1);
    expect(measured.integratedTime / integratedTime).toBeGreaterThan(0.85);
    expect(measured.integratedTime / integratedTime).toBeLessThan(1.15);
  });

  it('finds none in independent values, nor in devices that merely differ', () => {
    const devices = [0, 10, 20].map((offset, seed) => firstOrder(0, 1000, seed, offset));
    expect(Math.abs(measureAutocorrelation(devices, 100).lag1)).toBeLessThan(0.1);
    expect(measureAutocorrelation(devices, 100).integratedTime).toBe(1);
  });

  it('takes a constant series as independent', () => {
    expect(measureAutocorrelation([new Float64Array(100).fill(3)], 10)).toEqual({ lag1: 0, integratedTime: 1 });
  });
});
