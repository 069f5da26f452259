import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Examples } from '../../src/learn/index.js';

export const dataDir = process.env.DROVER_DATA_DIR ?? join(import.meta.dirname, '../../../../shared/data');
export const hasData = existsSync(join(dataDir, 'gas-sensor-drift'));

/** UCI Gas Sensor Array Drift: libsvm rows `class 1:value … 128:value`, classes 1 to 6. */
export function gasBatches(...numbers: number[]): Examples {
  const rows = numbers.flatMap((number) =>
    readFileSync(join(dataDir, `gas-sensor-drift/batch${number}.dat`), 'utf8')
      .trim()
      .split('\n'),
  );
  const features = rows.flatMap((row) =>
    row
      .trim()
      .split(/\s+/)
      .slice(1)
      .map((cell) => Number(cell.split(':')[1])),
  );
  return {
    features: Float32Array.from(features),
    labels: Int32Array.from(rows, (row) => Number.parseInt(row, 10) - 1),
    count: rows.length,
    width: 128,
  };
}
