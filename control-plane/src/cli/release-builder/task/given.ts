import type { Detection, Segmentation, Task } from '@drover/shared/task';
import type { Signature } from '../model-run.js';

/** What the publisher says of the task. What is certain from the model need not be said. */
export interface TaskGiven {
  readonly task?: Task['type'];
  readonly labels?: readonly string[];
  /** Name of the output with scores: of classes, of boxes, or of anomaly. */
  readonly scores?: string;
  readonly boxes?: string;
  readonly boxClasses?: string;
  readonly boxCount?: string;
  readonly boxFormat?: Detection['format'];
  readonly boxCoordinates?: Detection['coordinates'];
  readonly scoreThreshold?: number;
  /** Index or label of a class. */
  readonly background?: number | string;
  readonly maxOverlap?: number | 'none';
  readonly maxBoxes?: number;
  readonly pixels?: string;
  readonly pixelChannels?: NonNullable<Segmentation['channels']>;
  readonly values?: readonly string[];
  readonly unit?: string;
  readonly scale?: number;
  readonly threshold?: number;
  readonly anomalous?: 'above' | 'below';
}

/** What of a model tells its task. */
export interface TaskEvidence {
  readonly outputs: Signature['outputs'];
  /** Distinct operator names; those of other domains as `domain.Name`. */
  readonly operators: readonly string[];
}

export type Output = TaskEvidence['outputs'][number];

/** Something that has to be said, and why. */
export interface Question {
  /** `--boxes <output>`. */
  readonly option: string;
  readonly why: string;
}

/** @returns null, in the place of what is not known */
export type Ask = (option: string, why: string) => null;

const FLOATS: readonly Output['datatype'][] = ['FP16', 'FP32', 'FP64'];
export const isFloat = ({ datatype }: Output): boolean => FLOATS.includes(datatype);
export const isWhole = ({ datatype }: Output): boolean => /^U?INT/.test(datatype);

/** The name of the only one. */
export const only = (outputs: readonly Output[]): string | undefined =>
  outputs.length === 1 ? outputs[0]?.name : undefined;

export const inWords = (outputs: readonly Output[]): string =>
  outputs.map(({ name, datatype, shape }) => `"${name}" (${datatype}, [${shape.join(', ')}])`).join(', ');
