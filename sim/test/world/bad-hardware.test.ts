import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createWorld, type Examples, type SensorFault } from '../../src/world/index.js';

const SENSOR = 7;

function column({ features, width }: Examples, sensor: number): number[] {
  return [...features.filter((_, index) => index % width === sensor)];
}

function readings(kind?: SensorFault['kind'], fromStep?: number): Examples {
  const fault = kind && { kind, sensor: SENSOR, ...(fromStep === undefined ? {} : { fromStep }) };
  return createWorld({ seed: 2, ...(fault ? { badHardware: { 'dev-1': fault } } : {}) })
    .stream('dev-1', 'north')
    .next(200);
}

describe('when one sensor of a device is bad', () => {
  const healthy = readings();
  const healthyColumn = column(healthy, SENSOR);

  it.each(['stuck', 'noisy', 'not-a-number', 'dead'] as const)(
    'the others and the labels stay as they are (%s)',
    (kind) => {
      const broken = readings(kind);
      const masked = (rows: Examples): number[] =>
        [...rows.features].map((value, index) => (index % rows.width === SENSOR ? 0 : value));
      expect(masked(broken)).toEqual(masked(healthy));
      expect(broken.labels).toEqual(healthy.labels);
      expect(column(broken, SENSOR)).not.toEqual(healthyColumn);
    },
  );

  it('a stuck sensor repeats its last good reading', () => {
    const stuck = column(readings('stuck', 50), SENSOR);
    expect(stuck.slice(0, 50)).toEqual(healthyColumn.slice(0, 50));
    expect(new Set(stuck.slice(49)).size).toBe(1);
  });

  it('a dead sensor reads 0, one that fails to convert reads NaN now and then', () => {
    expect(new Set(column(readings('dead'), SENSOR))).toEqual(new Set([0]));
    const failures = column(readings('not-a-number'), SENSOR).filter((value) => Number.isNaN(value)).length;
    expect(failures).toBeGreaterThan(20);
    expect(failures).toBeLessThan(90);
  });

  it('a noisy sensor is far off', () => {
    const errors = column(readings('noisy'), SENSOR).map((value, row) => value - (healthyColumn[row] as number));
    expect(Math.hypot(...errors) / Math.sqrt(errors.length)).toBeGreaterThan(7);
  });

  it('only that device is affected', () => {
    const options = { seed: 2, badHardware: { 'dev-1': { kind: 'dead', sensor: 0 } as const } };
    const other = createWorld(options).stream('dev-2', 'north').next(20);
    expect(other).toEqual(createWorld({ seed: 2 }).stream('dev-2', 'north').next(20));
  });

  it('the faulty rows are the same however the stream is cut into portions', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('stuck', 'noisy', 'not-a-number', 'dead'),
        fc.nat(10),
        fc.nat(10),
        (kind, cut, from) => {
          const open = () =>
            createWorld({ seed: 2, badHardware: { 'dev-1': { kind, sensor: 3, fromStep: from } } }).stream(
              'dev-1',
              'north',
            );
          const stream = open();
          const parts = [...stream.next(cut).features, ...stream.next(12).features];
          expect(parts).toEqual([...open().next(cut + 12).features]);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('a fault of a sensor that is not there is refused', () => {
    const world = createWorld({ seed: 2, badHardware: { 'dev-1': { kind: 'dead', sensor: 16 } } });
    expect(() => world.stream('dev-1', 'north').next(1)).toThrow(expect.objectContaining({ code: 'WORLD_ARGUMENT' }));
  });
});
