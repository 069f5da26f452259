import type { Datatype } from '@drover/shared/manifest';
import { bytesPerElement, elementsOf, isDatatype, type NumericDatatype } from '@drover/shared/tensors';
import { CliError } from '../errors.js';
import { readFile } from '../files.js';

/** An array as NumPy saves it. */
export interface NumpyArray {
  readonly datatype: NumericDatatype;
  readonly shape: readonly number[];
  /** Little-endian, row-major. */
  readonly bytes: Uint8Array;
}

const MAGIC = '\x93NUMPY';
const KINDS: Readonly<Record<string, string>> = { f: 'FP', i: 'INT', u: 'UINT' };

/** Reads a `.npy` file (NumPy Enhancement Proposal 1): versions 1 to 3, little-endian numbers in C order. @throws CliError CLI_STATE_UNFIT */
export function readNumpy(file: string): NumpyArray {
  const unfit = (why: string) =>
    new CliError('CLI_STATE_UNFIT', `What a state begins with cannot be read: ${why}.`, {
      where: file,
      remedy: "Save it with numpy.save('FILE.npy', numpy.ascontiguousarray(array)).",
    });
  const content = readFile(file);
  if (content.toString('latin1', 0, MAGIC.length) !== MAGIC || content.length < 12) throw unfit('it is no .npy file');
  const isFirstVersion = content[MAGIC.length] === 1;
  const begin = isFirstVersion ? 10 : 12;
  const end = begin + (isFirstVersion ? content.readUInt16LE(8) : content.readUInt32LE(8));
  const header = content.toString('latin1', begin, end);
  const [, descr = ''] = /'descr': *'([^']+)'/.exec(header) ?? [];
  const [, shapeText] = /'shape': *\(([\d, ]*)\)/.exec(header) ?? [];
  if (shapeText === undefined || !/'fortran_order': *False/.test(header)) throw unfit('it is not in C order');
  const datatype = datatypeOf(descr);
  if (datatype === undefined || datatype === 'BYTES') throw unfit(`a state cannot be of NumPy's type "${descr}"`);
  const shape = shapeText.split(',').flatMap((axis) => (axis.trim() === '' ? [] : [Number(axis)]));
  const bytes = new Uint8Array(content.subarray(end));
  if (bytes.length === elementsOf(shape) * bytesPerElement(datatype)) return { datatype, shape, bytes };
  throw unfit(`it has ${bytes.length} bytes of elements, which are not those of [${shape.join(', ')}]`);
}

/** `<f4`: byte order, kind, bytes. */
function datatypeOf(descr: string): Datatype | undefined {
  if (descr === '|b1') return 'BOOL';
  const [, order, kind = '', bytes] = /^([<|])([fiu])([1248])$/.exec(descr) ?? [];
  const name = `${KINDS[kind] ?? ''}${Number(bytes) * 8}`;
  return order !== undefined && isDatatype(name) ? name : undefined;
}
