import type { SeededRandom } from '@drover/shared/statistics';
import { requireArgument } from './errors.js';
import type { DeviceStream } from './world.js';

/**
 * One sensor that went bad: `stuck` repeats its last good reading, `noisy` adds wild noise (ten times a usual spread), `not-a-number` fails to convert some
 * of its readings (one in four), `dead` reads 0.
 */
export interface SensorFault {
  readonly kind: 'stuck' | 'noisy' | 'not-a-number' | 'dead';
  /** Index of the sensor, from 0. */
  readonly sensor: number;
  /** Rows of the stream before the fault; 0 when left out. */
  readonly fromStep?: number;
}

const NOISY_DEVIATION = 10;
const NOT_A_NUMBER_SHARE = 0.25;

/** The same stream as a device with a bad sensor sees it. Labels stay true. */
export function breakSensor(stream: DeviceStream, fault: SensorFault, random: SeededRandom): DeviceStream {
  const fromStep = fault.fromStep ?? 0;
  let step = 0;
  let lastGood: number | undefined;

  const misread = (reading: number): number => {
    switch (fault.kind) {
      case 'stuck':
        lastGood ??= reading;
        return lastGood;
      case 'noisy':
        return reading + NOISY_DEVIATION * random.normal();
      case 'not-a-number':
        return random.next() < NOT_A_NUMBER_SHARE ? Number.NaN : reading;
      case 'dead':
        return 0;
    }
  };

  return {
    next: (n) => {
      const rows = stream.next(n);
      requireArgument(
        Number.isInteger(fault.sensor) && fault.sensor >= 0 && fault.sensor < rows.width,
        `There is no sensor ${fault.sensor} to break.`,
        `Name a sensor from 0 to ${rows.width - 1}.`,
      );
      const features = rows.features.slice();
      for (let row = 0; row < rows.count; row++, step++) {
        const cell = row * rows.width + fault.sensor;
        const reading = features[cell] ?? 0;
        if (step < fromStep) lastGood = reading;
        else features[cell] = misread(reading);
      }
      return { ...rows, features };
    },
  };
}
