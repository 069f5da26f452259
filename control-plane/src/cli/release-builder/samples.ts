import { decodeLabelledSamples } from '@drover/shared/manifest';
import { CliError } from '../errors.js';
import { readFile, readJson } from '../files.js';

/** Rows of sample inputs, row-major [count × width], in the order of the file. */
export interface Samples {
  readonly names: readonly string[];
  readonly values: Float32Array;
  readonly count: number;
  readonly width: number;
  /** Class names of the rows, where the file has a column `label`. */
  readonly labels: readonly string[] | undefined;
  /** Device or site of the rows, where the file has a column `stream`. */
  readonly streams: readonly string[] | undefined;
}

const SPECIAL_COLUMNS = ['label', 'stream'] as const;

/**
 * Reads a CSV file with a heading, or a JSON file of an array of objects or in the format `drover.samples/1`; columns `label` and `stream` are optional, every other column is one
 * feature, in the order of the model's input. Numbers are read as JavaScript reads them; an empty cell is NaN (a missing value).
 *
 * @throws CliError CLI_FILE_UNREADABLE, CLI_SAMPLES_UNFIT; ManifestError SAMPLES_INVALID
 */
export function readSamples(file: string): Samples {
  if (!file.endsWith('.json')) return toSamples(fromCsv(readFile(file).toString('utf8'), file), file);
  const json = readJson(file);
  return hasFormat(json) ? fromLabelledSamples(file) : toSamples(fromJson(json, file), file);
}

const hasFormat = (json: unknown): boolean => typeof json === 'object' && json !== null && 'format' in json;

/** Columns without names get their index; classes are known there by index only, so that the rows have no labels here. */
function fromLabelledSamples(file: string): Samples {
  const { features, count, width } = decodeLabelledSamples(readFile(file));
  const names = Array.from({ length: width }, (_, column) => String(column));
  return { names, values: features, count, width, labels: undefined, streams: undefined };
}

interface Columns {
  readonly headings: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

const unfit = (file: string, what: string) =>
  new CliError('CLI_SAMPLES_UNFIT', `The samples do not fit: ${what}.`, {
    where: file,
    remedy: 'Give a heading and one row per sample, one number per feature; "label" and "stream" are optional columns.',
  });

function fromCsv(text: string, file: string): Columns {
  if (text.includes('"')) throw unfit(file, 'quoted cells are not read');
  const [heading, ...rows] = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  if (heading === undefined) throw unfit(file, 'the file is empty');
  const cells = (line: string) => line.split(',').map((cell) => cell.trim());
  return { headings: cells(heading), rows: rows.map(cells) };
}

function fromJson(json: unknown, file: string): Columns {
  if (!Array.isArray(json) || json.length === 0) throw unfit(file, 'the JSON is no array of objects');
  const records = json as Record<string, unknown>[];
  const headings = Object.keys(records[0] ?? {});
  return { headings, rows: records.map((record) => headings.map((name) => toCell(record[name]))) };
}

/** Nested values become text that no number has, and are refused with their row. */
const toCell = (value: unknown): string =>
  typeof value === 'string' ? value : value === null || value === undefined ? '' : JSON.stringify(value);

function toSamples({ headings, rows }: Columns, file: string): Samples {
  if (rows.length === 0) throw unfit(file, 'there are no rows');
  const features = headings.flatMap((name, column) =>
    SPECIAL_COLUMNS.some((special) => special === name) ? [] : [column],
  );
  const values = new Float32Array(rows.length * features.length);
  rows.forEach((row, index) => {
    const line = index + 2;
    if (row.length !== headings.length)
      throw unfit(file, `row ${line} has ${row.length} cells, the heading ${headings.length}`);
    features.forEach((column, feature) => {
      const cell = row[column] ?? '';
      const value = cell === '' ? Number.NaN : Number(cell);
      if (Number.isNaN(value) && cell !== '' && cell !== 'NaN')
        throw unfit(file, `row ${line}, "${headings[column] ?? ''}": "${cell}" is no number`);
      values[index * features.length + feature] = value;
    });
  });
  const texts = (name: (typeof SPECIAL_COLUMNS)[number]) => {
    const column = headings.indexOf(name);
    return column < 0 ? undefined : rows.map((row) => row[column] ?? '');
  };
  return {
    names: features.map((column) => headings[column] ?? ''),
    values,
    count: rows.length,
    width: features.length,
    labels: texts('label'),
    streams: texts('stream'),
  };
}

/** Class index of each row. @throws CliError CLI_SAMPLES_UNFIT for a label that the model does not have */
export function classesOf(samples: Samples, labels: readonly string[], file: string): Int32Array {
  if (!samples.labels) throw unfit(file, 'there is no column "label"');
  return Int32Array.from(samples.labels, (label, row) => {
    const index = labels.indexOf(label);
    if (index < 0) throw unfit(file, `row ${row + 2} has the label "${label}", which is none of ${labels.join(', ')}`);
    return index;
  });
}
