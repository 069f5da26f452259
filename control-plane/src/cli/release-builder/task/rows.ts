import { classesIn, type Anomaly, type Regression } from '@drover/shared/task';
import { inWords, isFloat, only, type Ask, type Output, type TaskEvidence, type TaskGiven } from './given.js';

/** The output with class scores. */
export function readScores({ labels, scores }: TaskGiven, { outputs }: TaskEvidence, ask: Ask): string | null {
  if (scores !== undefined) return scores;
  const candidates = outputs.filter((each) => isFloat(each) && fitsLabels(each, labels));
  // What exporters of scikit-learn call it, beside the logits of others.
  const named = candidates.find(({ name }) => name === 'probabilities' || name === 'output_probability');
  if (named) return named.name;
  const chosen = labels ? candidates[0]?.name : only(candidates);
  return chosen ?? ask('--scores <output>', `which output holds one score for each class: ${inWords(outputs)}`);
}

const fitsLabels = ({ shape }: Output, labels: readonly string[] | undefined): boolean =>
  labels ? classesIn(shape) === labels.length : classesIn(shape) !== 1;

export function readRegression(given: TaskGiven, { outputs }: TaskEvidence, ask: Ask): Regression | null {
  const name = only(outputs.filter(isFloat));
  const values = given.values ?? (name === undefined ? undefined : [name]);
  if (!values) return ask('--values <outputs>', `which outputs hold the values: ${inWords(outputs)}`);
  return {
    outputs: [...values],
    ...(given.unit !== undefined && { unit: given.unit }),
    ...(given.scale !== undefined && { scale: given.scale }),
  };
}

export function readAnomaly(given: TaskGiven, { outputs }: TaskEvidence, ask: Ask): Anomaly | null {
  const score =
    given.scores ??
    only(outputs.filter((each) => isFloat(each) && [1, -1].includes(classesIn(each.shape)))) ??
    ask('--scores <output>', `which output holds the score: ${inWords(outputs)}`);
  const threshold = given.threshold ?? ask('--threshold <number>', 'from which score on a row is an anomaly');
  const anomalous = given.anomalous ?? ask('--anomalous <above|below>', 'on which side of the threshold anomalies are');
  return score === null || threshold === null || !anomalous ? null : { score, threshold, anomalous };
}
