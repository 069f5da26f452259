import type { SeededRandom } from '@drover/shared/statistics';

/** How each sensor answers to each gas, before any site, device, noise or drift. */
export interface GasPatterns {
  /** What a sensor reads in clean air. */
  readonly baseline: Float64Array;
  /** A sensor's response to a gas at a concentration (1 is usual), in units of about the sensor's spread over the gases. */
  response(gas: number, sensor: number, concentration: number): number;
}

/**
 * The power law of metal-oxide sensors, response = sensitivity × concentration^exponent (Yamazoe & Shimanoe, Sensors and Actuators B 128, 2008), with a
 * sensitivity and an exponent for every pair of gas and sensor. All gases meet at concentration 0, so that weak ones are hard to tell apart, and the
 * exponents bend each gas's path, so that a straight boundary is not the best one.
 */
export function drawGasPatterns(random: SeededRandom, features: number, classes: number): GasPatterns {
  const baseline = Float64Array.from({ length: features }, () => 0.5 * random.normal());
  const sensitivities = equidistantRows(random, features, classes);
  const exponents = Float64Array.from({ length: features * classes }, () => 0.4 + 0.8 * random.next());
  return {
    baseline,
    response: (gas, sensor, concentration) => {
      const cell = gas * features + sensor;
      return (sensitivities[cell] ?? 0) * concentration ** (exponents[cell] ?? 1);
    },
  };
}

/**
 * Random rows of length √features, orthogonal as far as the number of features allows (modified Gram–Schmidt): the gases are then about equally far from
 * each other, and every seed makes a world of about the same difficulty.
 */
function equidistantRows(random: SeededRandom, features: number, classes: number): Float64Array {
  const rows = new Float64Array(features * classes);
  for (let gas = 0; gas < classes; gas++) {
    const row = rows.subarray(gas * features, (gas + 1) * features);
    for (let sensor = 0; sensor < features; sensor++) row[sensor] = random.normal();
    const firstInBasis = gas - (gas % features);
    for (let other = firstInBasis; other < gas; other++) {
      const basis = rows.subarray(other * features, (other + 1) * features);
      const overlap = dot(row, basis) / dot(basis, basis);
      for (let sensor = 0; sensor < features; sensor++)
        row[sensor] = (row[sensor] ?? 0) - overlap * (basis[sensor] ?? 0);
    }
    const length = Math.sqrt(dot(row, row) / features);
    for (let sensor = 0; sensor < features; sensor++) row[sensor] = (row[sensor] ?? 0) / length;
  }
  return rows;
}

function dot(left: Float64Array, right: Float64Array): number {
  return left.reduce((sum, value, index) => sum + value * (right[index] ?? 0), 0);
}
