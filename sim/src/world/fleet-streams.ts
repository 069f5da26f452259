import type { SeededRandom } from '@drover/shared/statistics';
import { breakSensor, type SensorFault } from './bad-hardware.js';
import { requireArgument } from './errors.js';
import type { DeviceStream, World } from './world.js';

/** A stream that can go through a change of its world. */
export interface DriftingStream extends DeviceStream {
  /** The change begins at a step, counted from the stream's first row; with its next row when left out. The earliest call counts. */
  drift(fromStep?: number): void;
  /** Progress of the latest row through the change, from 0 to 1; 0 before the first row. */
  driftProgress(): number;
}

export interface FleetStreamsOptions {
  readonly sites: readonly string[];
  readonly badHardware: Readonly<Record<string, SensorFault>>;
  /** Each device's randomness is forked from it by the device's id, so that the order of asking does not matter. */
  readonly random: SeededRandom;
  readonly open: (site: string, random: SeededRandom) => DriftingStream;
  /** Whether the change reaches a site. */
  readonly isReached: (site: string) => boolean;
}

/** The streams of a world's fleet: one per device, all told of the change, also those opened after it. */
export function createFleetStreams(
  options: FleetStreamsOptions,
): Pick<World, 'stream' | 'startDrift' | 'driftProgress'> {
  const { sites, badHardware, random } = options;
  const streams = new Map<string, { site: string; source: DriftingStream; seen: DeviceStream }>();
  let driftStarted = false;

  return {
    stream: (deviceId, site) => {
      requireArgument(
        sites.includes(site),
        `There is no site ${JSON.stringify(site)}.`,
        `Use one of ${sites.join(', ')}.`,
      );
      const known = streams.get(deviceId);
      if (known !== undefined) {
        requireArgument(
          known.site === site,
          `${deviceId} is at site ${known.site}, not ${site}.`,
          'Ask for a device at one site only.',
        );
        return known.seen;
      }
      const source = options.open(site, random.fork(`device ${deviceId}`));
      if (driftStarted) source.drift();
      const fault = badHardware[deviceId];
      const seen = fault === undefined ? source : breakSensor(source, fault, random.fork(`fault ${deviceId}`));
      streams.set(deviceId, { site, source, seen });
      return seen;
    },

    startDrift: () => {
      driftStarted = true;
      for (const { source } of streams.values()) source.drift();
    },

    driftProgress: () => {
      const reached = [...streams.values()].filter(({ site }) => options.isReached(site));
      const sum = reached.reduce((total, { source }) => total + source.driftProgress(), 0);
      return reached.length === 0 ? 0 : sum / reached.length;
    },
  };
}

/** @throws WorldError WORLD_ARGUMENT unless so many rows can come from so many devices. */
export function verifyTrainingRequest(rows: number, devices: number): void {
  requireArgument(
    Number.isInteger(rows) && Number.isInteger(devices) && devices > 0 && devices <= rows,
    `${rows} rows cannot come from ${devices} devices.`,
    'Ask for at least 1 device, and no more devices than rows.',
  );
}

/** @throws WorldError WORLD_ARGUMENT unless `n` rows can be read. */
export function verifyPortion(n: number): void {
  requireArgument(Number.isInteger(n) && n >= 0, `A stream was asked for ${n} rows.`, 'Ask for 0 or more rows.');
}
