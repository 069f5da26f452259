import { Option, type Command } from 'commander';
import { parseNumber, parseCount } from '../units.js';

const TASKS = ['classification', 'regression', 'detection', 'segmentation', 'anomaly', 'tensors'];

const parseNames = (text: string): string[] => text.split(',').map((name) => name.trim());
const parseOverlap = (text: string): number | 'none' => (text === 'none' ? text : parseNumber(text));
const parseClass = (text: string): number | string => (/^\d+$/.test(text) ? Number(text) : text);

/** Options that say what a model does. What is certain from the model need not be said; what is not is asked for by name. */
export const withTaskOptions = (command: Command): Command =>
  command
    .addOption(
      new Option(
        '--task <task>',
        'what the model does (default: as its options and the operators of the model tell, else tensors)',
      ).choices(TASKS),
    )
    .option('--labels <names>', 'names of the classes, in the order of the scores: a,b,c', parseNames)
    .option('--scores <output>', 'output that holds one score per class, the scores of boxes, or the score of anomaly')
    .option('--boxes <output>', 'detection: output that holds boxes of four numbers')
    .option('--box-classes <output>', 'detection: output with the class of each box, where it has one score')
    .option('--box-count <output>', 'detection: output that says how many boxes of an image count')
    .addOption(
      new Option('--box-format <format>', 'detection: what the four numbers are: corners, corner and size, centre and size').choices(['xyxy', 'yxyx', 'xywh', 'cxcywh']), // prettier-ignore
    )
    .addOption(
      new Option('--box-coordinates <unit>', 'detection: shares of the image, or pixels').choices(['normalised', 'pixels']), // prettier-ignore
    )
    .option('--score-threshold <share>', 'detection: a box counts from this score on (default: 0.5)', parseNumber)
    .option('--background <class|none>', 'detection: class that stands for nothing, by index or label', parseClass)
    .option('--max-overlap <iou|none>', 'detection: of two boxes that overlap more, keep the stronger', parseOverlap)
    .option('--max-boxes <n>', 'detection: most boxes of an image (default: 100)', parseCount)
    .option('--pixels <output>', 'segmentation: output with the scores or the class of each pixel')
    .addOption(
      new Option('--pixel-channels <place>', 'segmentation: where the axis of classes stands').choices(['first', 'last']), // prettier-ignore
    )
    .option('--values <outputs>', 'regression: outputs that hold the values', parseNames)
    .option('--unit <name>', 'regression: what the values are in')
    .option('--scale <number>', 'regression: what the values are multiplied by to be in that unit', parseNumber)
    .option(
      '--threshold <number>',
      'anomaly: score that separates anomalies; segmentation: of a single score',
      parseNumber,
    )
    .addOption(new Option('--anomalous <side>', 'anomaly: on which side of the threshold').choices(['above', 'below']));
