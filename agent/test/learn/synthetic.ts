import { seededRandom } from '@drover/shared/statistics';
import type { Examples } from '../../src/learn/index.js';

/** Gaussian clouds, one per class, on the corners of a simplex scaled by `distance` and moved by `shift`. */
export function clouds({
  count,
  width = 8,
  classes = 3,
  distance = 3,
  shift = 0,
  seed = 1,
}: {
  count: number;
  width?: number;
  classes?: number;
  distance?: number;
  shift?: number;
  seed?: number;
}): Examples {
  const random = seededRandom(seed);
  const labels = Int32Array.from({ length: count }, () => random.nextInt(classes));
  const features = new Float32Array(count * width);
  labels.forEach((label, row) => {
    for (let column = 0; column < width; column++) {
      features[row * width + column] = random.normal() + shift + (column === label ? distance : 0);
    }
  });
  return { features, labels, count, width };
}
