import { seededRandom } from '@drover/shared/statistics';
import { LearnError } from './errors.js';

/** Labelled examples: row `i` is `features[i·width … (i+1)·width)`, its class `labels[i]`, from 0. */
export interface Examples {
  /** count × width, row-major. */
  readonly features: Float32Array;
  readonly labels: Int32Array;
  readonly count: number;
  readonly width: number;
}

const invalid = (why: string) =>
  new LearnError('LEARN_EXAMPLES_INVALID', `The examples cannot be used: ${why}.`, {
    remedy: 'Check how the samples were recorded and labelled for this model.',
  });

/** @throws LearnError LEARN_EXAMPLES_INVALID */
export function checkExamples(
  { features, labels, count, width }: Examples,
  wanted: { width: number; classes: number },
): void {
  if (width !== wanted.width) throw invalid(`rows have ${width} values, the model takes ${wanted.width}`);
  if (labels.length !== count || features.length !== count * width) {
    throw invalid(
      `${count} rows of ${width} need ${count * width} values and ${count} labels, not ${features.length} and ${labels.length}`,
    );
  }
  const badLabel = labels.findIndex((label) => label < 0 || label >= wanted.classes);
  if (badLabel !== -1)
    throw invalid(
      `row ${badLabel} has the label ${labels[badLabel] ?? ''}; the model knows 0 to ${wanted.classes - 1}`,
    );
  const badValue = features.findIndex((value) => !Number.isFinite(value));
  if (badValue !== -1) throw invalid(`row ${Math.floor(badValue / width)} has a value that is not finite`);
}

/** The named rows, in the order given, repetitions included. */
export function selectExamples(examples: Examples, rows: readonly number[]): Examples {
  const { width } = examples;
  const features = new Float32Array(rows.length * width);
  const labels = new Int32Array(rows.length);
  rows.forEach((row, index) => {
    features.set(examples.features.subarray(row * width, (row + 1) * width), index * width);
    labels[index] = examples.labels[row] ?? -1;
  });
  return { features, labels, count: rows.length, width };
}

/** All rows of both, the first set's first. @throws LearnError LEARN_EXAMPLES_INVALID when the widths differ */
export function concatExamples(first: Examples, second: Examples): Examples {
  if (first.width !== second.width)
    throw invalid(`rows of ${first.width} and of ${second.width} values cannot be mixed`);
  const features = new Float32Array(first.features.length + second.features.length);
  features.set(first.features);
  features.set(second.features, first.features.length);
  const labels = new Int32Array(first.count + second.count);
  labels.set(first.labels);
  labels.set(second.labels, first.count);
  return { features, labels, count: first.count + second.count, width: first.width };
}

/** A seeded random split; the second part gets `round(count · share)` rows. */
export function splitExamples(examples: Examples, share: number, seed: number): [Examples, Examples] {
  const rows = seededRandom(seed)
    .fork('split')
    .shuffle(Array.from({ length: examples.count }, (_, row) => row));
  const cut = examples.count - Math.round(examples.count * share);
  return [selectExamples(examples, rows.slice(0, cut)), selectExamples(examples, rows.slice(cut))];
}

/**
 * Experience replay against forgetting (Robins 1995, "Catastrophic forgetting, rehearsal and pseudorehearsal"): adds rows of `replay` until they
 * are `replayShare` of the result (0.5 is one to one). Rows are drawn without repetition, in seeded rounds once all are used.
 *
 * @throws LearnError LEARN_RECIPE_INVALID, LEARN_EXAMPLES_INVALID
 */
export function mixReplay(fresh: Examples, replay: Examples | undefined, replayShare: number, seed: number): Examples {
  if (!(replayShare >= 0 && replayShare < 1)) {
    throw new LearnError('LEARN_RECIPE_INVALID', `A replay share of ${replayShare} leaves nothing new to learn.`, {
      remedy: 'Set replayShare to at least 0 and below 1; 0.5 replays one old example for each new one.',
    });
  }
  const wanted = Math.round((fresh.count * replayShare) / (1 - replayShare));
  if (wanted === 0) return fresh;
  if (replay === undefined || replay.count === 0)
    throw invalid('the recipe asks for replay, and there are no examples to replay');
  const random = seededRandom(seed).fork('replay');
  const rows: number[] = [];
  while (rows.length < wanted) {
    const round = random.shuffle(Array.from({ length: replay.count }, (_, row) => row));
    rows.push(...round.slice(0, wanted - rows.length));
  }
  return concatExamples(fresh, selectExamples(replay, rows));
}
