import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { WorldError } from './errors.js';
import { GASES } from './gases.js';

/** Columns of the UCI Gas Sensor Array Drift data: 16 sensors × 8 features each. */
export const GAS_DATA_WIDTH = 128;

/** One labelled measurement: class from 0, and `GAS_DATA_WIDTH` raw values. */
export interface GasRow {
  readonly label: number;
  readonly values: Float32Array;
}

/** The batches in a folder (`batch1.dat` …), in the order asked for. @throws WorldError DATA_FOLDER_MISSING, DATA_ROW_MALFORMED */
export async function readGasBatches(directory: string, batches: readonly number[]): Promise<GasRow[][]> {
  const isDirectory = await stat(directory).then(
    (facts) => facts.isDirectory(),
    (cause: unknown) => {
      throw folderMissing(directory, `There is no data folder ${directory}.`, cause);
    },
  );
  if (!isDirectory) throw folderMissing(directory, `${directory} is not a folder.`);
  return Promise.all(
    batches.map(async (batch) => {
      const file = join(directory, `batch${batch}.dat`);
      const text = await readFile(file, 'utf8').catch((cause: unknown) => {
        throw folderMissing(file, `The data folder has no readable batch${batch}.dat.`, cause);
      });
      return parseGasRows(text, file);
    }),
  );
}

const folderMissing = (where: string, what: string, cause?: unknown): WorldError =>
  new WorldError('DATA_FOLDER_MISSING', what, {
    where,
    remedy: 'Name the folder with batch1.dat to batch5.dat of the UCI Gas Sensor Array Drift data set.',
    cause,
  });

/**
 * The rows of one file in libsvm form, `class 1:value 2:value … 128:value`, with classes 1–6 and every column present.
 *
 * @param where the name of the file, for errors.
 * @throws WorldError DATA_ROW_MALFORMED, naming file and line
 */
export function parseGasRows(text: string, where: string): GasRow[] {
  const rows: GasRow[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() !== '') rows.push(parseGasRow(line.trim(), `${where}:${index + 1}`));
  }
  if (rows.length === 0) throw malformed('The file has no rows.', where);
  return rows;
}

function parseGasRow(line: string, where: string): GasRow {
  const [gas = '', ...cells] = line.split(/\s+/);
  const label = Number(gas) - 1;
  if (!/^\d+$/.test(gas) || label < 0 || label >= GASES.length) {
    throw malformed(`The class ${JSON.stringify(gas.slice(0, 20))} is not one of 1 to ${GASES.length}.`, where);
  }
  if (cells.length !== GAS_DATA_WIDTH) {
    throw malformed(`The row has ${cells.length} columns, not ${GAS_DATA_WIDTH}.`, where);
  }
  const values = Float32Array.from(cells, (cell, column) => {
    const [name, number = ''] = cell.split(':', 2);
    const value = number === '' ? Number.NaN : Number(number);
    if (name !== String(column + 1) || !Number.isFinite(value)) {
      throw malformed(
        `Column ${column + 1} reads ${JSON.stringify(cell.slice(0, 40))}, not "${column + 1}:number".`,
        where,
      );
    }
    return value;
  });
  return { label, values };
}

const malformed = (what: string, where: string): WorldError =>
  new WorldError('DATA_ROW_MALFORMED', what, {
    where,
    remedy: 'Fetch the data set again; the file is damaged or of another kind.',
  });
