import { requireArgument } from './errors.js';
import type { GasPatterns } from './gas-patterns.js';

/** How the sensors of a world change. */
export interface Drift {
  /** Which sensors change: indices from 0. */
  readonly sensors: readonly number[];
  /** `offset` moves the readings, `gain` makes the sensor less sensitive, `both` does both. */
  readonly kind: 'offset' | 'gain' | 'both';
  /** 1 moves the drifting sensors by one spread of a sensor over the gases (root mean square) and multiplies their sensitivity by exp(−1/5). */
  readonly magnitude: number;
  /** Steps of a stream from no drift to full drift, in a straight line; 0 is sudden. */
  readonly rampSteps: number;
  /** The sites that drift. */
  readonly sites: 'all' | readonly string[];
  /** Multiplies the magnitude at a site; 1 where a site is not named. */
  readonly siteMultiplier: Readonly<Record<string, number>>;
  /** Every stream drifts from this step of its own, without `startDrift`. */
  readonly startStep?: number;
}

/** What drift does to a stream's reading of one sensor: `reading = baseline + gain × response + offset`. */
export interface SensorShift {
  readonly gain: number;
  readonly offset: number;
}

const LOG_FADING_PER_MAGNITUDE = 0.2;

/** @throws WorldError WORLD_ARGUMENT when the drift names what the world has not got. */
export function verifyDrift(drift: Drift, features: number, sites: readonly string[]): void {
  const unknownSensor = drift.sensors.find((sensor) => !Number.isInteger(sensor) || sensor < 0 || sensor >= features);
  requireArgument(
    unknownSensor === undefined,
    `There is no sensor ${unknownSensor ?? ''} to drift.`,
    `Name sensors from 0 to ${features - 1}.`,
  );
  const named = [...(drift.sites === 'all' ? [] : drift.sites), ...Object.keys(drift.siteMultiplier)];
  const unknownSite = named.find((site) => !sites.includes(site));
  requireArgument(
    unknownSite === undefined,
    `There is no site ${JSON.stringify(unknownSite)} to drift.`,
    `Name sites of this world: ${sites.join(', ')}.`,
  );
  requireArgument(
    Number.isFinite(drift.magnitude) && drift.magnitude >= 0,
    `A drift's magnitude is ${drift.magnitude}.`,
    'Give a number from 0.',
  );
  requireArgument(
    drift.rampSteps >= 0,
    `A drift's ramp has ${drift.rampSteps} steps.`,
    'Give 0 (sudden) or more steps.',
  );
}

/** Whether the drift reaches a site at all. */
export const reachesSite = (drift: Drift, site: string): boolean => drift.sites === 'all' || drift.sites.includes(site);

/**
 * The law of a drift: for each sensor and site, where it is at a progress from 0 to 1. It is that of a poisoned sensor: residue of one gas moves every
 * drifting sensor the way that gas does, and sensitivity fades. The gas is the one that these sensors answer to most. Directions drawn at random would cost a
 * classifier almost nothing in one world and half of its accuracy in another.
 */
export function createDriftLaw(
  drift: Drift,
  patterns: GasPatterns,
  classes: number,
): (sensor: number, site: string, progress: number) => SensorShift {
  const responsesTo = (gas: number): number[] => drift.sensors.map((sensor) => patterns.response(gas, sensor, 1));
  const strength = (responses: readonly number[]): number => Math.hypot(...responses) / Math.sqrt(responses.length);
  const residue = Array.from({ length: classes }, (_, gas) => responsesTo(gas)).reduce((most, responses) =>
    strength(responses) > strength(most) ? responses : most,
  );
  const directionOf = new Map(
    drift.sensors.map((sensor, index) => [sensor, (residue[index] ?? 0) / strength(residue)] as const),
  );
  return (sensor, site, progress) => {
    const direction = directionOf.get(sensor);
    if (direction === undefined || !reachesSite(drift, site)) return { gain: 1, offset: 0 };
    const shift = drift.magnitude * (drift.siteMultiplier[site] ?? 1) * progress;
    return {
      gain: drift.kind === 'offset' ? 1 : Math.exp(-shift * LOG_FADING_PER_MAGNITUDE),
      offset: drift.kind === 'gain' ? 0 : shift * direction,
    };
  };
}
