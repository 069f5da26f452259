import { packBits, unpackBits } from './bits.js';
import { mergeRare, type Contexts } from './contexts.js';
import { invalidFrame } from './errors.js';
import { decodeSymbols, encodeSymbols, readTables, SYMBOLS, toFrequencies, writeTables } from './rans.js';
import type { WireReader, WireWriter } from './wire.js';

/**
 * How a number becomes an entropy-coded symbol and bits that are as good as random. `prefix`: everything above the low `bits`. `magnitude`: its
 * length in bits and the `bits` after the leading one, for numbers whose distribution is smooth and wide.
 */
export interface Scheme {
  readonly kind: 'prefix' | 'magnitude';
  readonly bits: number;
}

/** What a table entry costs: symbol and frequency. */
const BITS_PER_ENTRY = 18;

/** Up to here a scheme's symbols fit a byte, whatever the number is. */
export const isScheme = ({ kind, bits }: Scheme): boolean => bits <= (kind === 'prefix' ? 24 : 3);

function symbolsOf(values: Uint32Array, { kind, bits }: Scheme): Uint8Array {
  const symbols = new Uint8Array(values.length);
  if (kind === 'prefix') {
    for (let index = 0; index < values.length; index++) symbols[index] = (values[index] ?? 0) >>> bits;
    return symbols;
  }
  const low = (1 << bits) - 1;
  for (let index = 0; index < values.length; index++) {
    const value = values[index] ?? 0;
    const rawBits = 31 - Math.clz32(value) - bits;
    symbols[index] = rawBits < 0 ? value : ((rawBits + 1) << bits) | ((value >>> rawBits) & low);
  }
  return symbols;
}

/** Bits that stand outside of each of the 256 symbols. */
const rawWidths = ({ kind, bits }: Scheme): Uint8Array =>
  Uint8Array.from({ length: SYMBOLS }, (_, symbol) =>
    kind === 'prefix' ? bits : Math.min(31, Math.max(0, (symbol >>> bits) - 1)),
  );

function widthsOf(symbols: Uint8Array, scheme: Scheme): Uint8Array {
  const bySymbol = rawWidths(scheme);
  const widths = new Uint8Array(symbols.length);
  for (let index = 0; index < symbols.length; index++) widths[index] = bySymbol[symbols[index] ?? 0] ?? 0;
  return widths;
}

function countSymbols(symbols: Uint8Array, { of, count }: Contexts): Uint32Array {
  const counts = new Uint32Array(count * SYMBOLS);
  for (let index = 0; index < symbols.length; index++) {
    const entry = (of[index] ?? 0) * SYMBOLS + (symbols[index] ?? 0);
    counts[entry] = (counts[entry] ?? 0) + 1;
  }
  return counts;
}

/** Bits that coding would take by the empirical entropy, where `values` is every `stride`-th value. */
export function estimateBits(values: Uint32Array, contexts: Contexts, scheme: Scheme, stride: number): number {
  const counts = countSymbols(symbolsOf(values, scheme), contexts);
  const widths = rawWidths(scheme);
  let bits = 0;
  for (let from = 0; from < counts.length; from += SYMBOLS) {
    const ofContext = counts.subarray(from, from + SYMBOLS);
    const total = ofContext.reduce((sum, count) => sum + count, 0);
    for (let symbol = 0; symbol < SYMBOLS; symbol++) {
      const count = ofContext[symbol] ?? 0;
      if (count > 0) bits += BITS_PER_ENTRY + stride * count * (Math.log2(total / count) + (widths[symbol] ?? 0));
    }
  }
  return bits;
}

/** Tables, coded symbols, raw bits. */
export function encodeValues(writer: WireWriter, values: Uint32Array, contexts: Contexts, scheme: Scheme): void {
  const merged = mergeRare(contexts);
  const symbols = symbolsOf(values, scheme);
  const tables = toFrequencies(countSymbols(symbols, merged));
  writeTables(writer, tables);
  const coded = encodeSymbols(symbols, merged.of, tables);
  writer
    .varint(coded.length)
    .bytes(coded)
    .bytes(packBits(values, widthsOf(symbols, scheme)));
}

/** @throws DeliveryError FRAME_INVALID */
export function decodeValues(reader: WireReader, contexts: Contexts, scheme: Scheme): Uint32Array {
  if (!isScheme(scheme)) throw invalidFrame('it has an unknown scheme');
  const merged = mergeRare(contexts);
  const tables = readTables(reader, merged.count);
  const coded = reader.bytes(reader.varint(reader.remaining));
  const symbols = new Uint8Array(merged.of.length);
  decodeSymbols(symbols, merged.of, tables, coded);
  const values = unpackBits(reader.rest(), widthsOf(symbols, scheme));
  if (!values) throw invalidFrame('its bits do not end where they should');
  join(values, symbols, scheme);
  return values;
}

/** Puts each symbol before the raw bits that `values` holds. */
function join(values: Uint32Array, symbols: Uint8Array, scheme: Scheme): void {
  const { kind, bits } = scheme;
  if (kind === 'prefix') {
    for (let index = 0; index < values.length; index++) {
      values[index] = ((symbols[index] ?? 0) << bits) | (values[index] ?? 0);
    }
    return;
  }
  const low = (1 << bits) - 1;
  const widths = rawWidths(scheme);
  for (let index = 0; index < values.length; index++) {
    const symbol = symbols[index] ?? 0;
    const isSmall = symbol <= low;
    values[index] = isSmall ? symbol : (((low + 1) | (symbol & low)) << (widths[symbol] ?? 0)) | (values[index] ?? 0);
  }
}
