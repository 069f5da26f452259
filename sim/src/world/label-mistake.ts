import { seededRandom } from '@drover/shared/statistics';
import { requireArgument } from './errors.js';
import type { Examples } from './examples.js';

/**
 * The export mistake behind a plausible bad release: classes `a` and `b` have changed places in the labels. What is trained on it loads, is fast, agrees with
 * its own golden vectors, and is wrong in the field on two classes.
 */
export function swapLabels<E extends Examples>(examples: E, a: number, b: number): E {
  return { ...examples, labels: examples.labels.map((label) => (label === a ? b : label === b ? a : label)) };
}

/** Sloppy labelling: a `share` of the rows, drawn by the seed, gets another class of `classes`, each of the others equally often. */
export function corruptLabels<E extends Examples>(
  examples: E,
  { share, classes, seed }: { readonly share: number; readonly classes: number; readonly seed: number },
): E {
  requireArgument(share >= 0 && share <= 1, `${share} is not a share of the rows.`, 'Give a number from 0 to 1.');
  requireArgument(
    Number.isInteger(classes) && classes > 1,
    `${classes} classes cannot be mixed up.`,
    'Give at least 2.',
  );
  const random = seededRandom(seed).fork('corrupt labels');
  const rows = random.shuffle(Array.from({ length: examples.count }, (_, row) => row));
  const labels = examples.labels.slice();
  for (const row of rows.slice(0, Math.round(share * examples.count))) {
    labels[row] = ((labels[row] ?? 0) + 1 + random.nextInt(classes - 1)) % classes;
  }
  return { ...examples, labels };
}
