import { invalidFrame } from './errors.js';
import type { WireReader, WireWriter } from './wire.js';

/** Frequencies of a table sum to 2^12. */
export const FREQUENCY_BITS = 12;
const TOTAL = 1 << FREQUENCY_BITS;
const SLOT_MASK = TOTAL - 1;
/** The state stays in [2^23, 2^31). */
const LOWER_BOUND = 1 << 23;
const UPPER_BOUND = 2 ** 31;
const STATE_BYTES = 4;
export const SYMBOLS = 256;

/** Frequencies of all contexts, one after the other, 256 each. */
export type FrequencyTables = Uint16Array;

/** Scales counts to frequencies: at least 1 for every symbol that occurs, in sum exactly 2^12. An empty count gives an empty table. */
export function toFrequencies(counts: Uint32Array): FrequencyTables {
  const tables = new Uint16Array(counts.length);
  for (let from = 0; from < counts.length; from += SYMBOLS) {
    tables.set(frequenciesOf(counts.subarray(from, from + SYMBOLS)), from);
  }
  return tables;
}

function frequenciesOf(counts: Uint32Array): Uint16Array {
  const table = new Uint16Array(SYMBOLS);
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return table;
  let sum = 0;
  for (const [symbol, count] of counts.entries()) {
    if (count === 0) continue;
    const frequency = Math.max(1, Math.round((count * TOTAL) / total));
    table[symbol] = frequency;
    sum += frequency;
  }
  // What rounding gave or took is taken or given where it costs the least: at the most frequent symbols.
  while (sum !== TOTAL) {
    const most = table.indexOf(table.reduce((highest, frequency) => Math.max(highest, frequency), 0));
    const step = sum < TOTAL ? TOTAL - sum : -Math.min(sum - TOTAL, Math.max(1, (table[most] ?? 0) >> 1));
    table[most] = (table[most] ?? 0) + step;
    sum += step;
  }
  return table;
}

export function writeTables(writer: WireWriter, tables: FrequencyTables): void {
  for (let from = 0; from < tables.length; from += SYMBOLS) {
    const present = [...tables.subarray(from, from + SYMBOLS).entries()].filter(([, frequency]) => frequency > 0);
    writer.varint(present.length);
    let next = 0;
    for (const [symbol, frequency] of present) {
      writer.varint(symbol - next).varint(frequency);
      next = symbol + 1;
    }
  }
}

export function readTables(reader: WireReader, contexts: number): FrequencyTables {
  const tables = new Uint16Array(contexts * SYMBOLS);
  for (let from = 0; from < tables.length; from += SYMBOLS) readTable(reader, tables.subarray(from, from + SYMBOLS));
  return tables;
}

function readTable(reader: WireReader, table: Uint16Array): void {
  let next = 0;
  let sum = 0;
  for (let left = reader.varint(SYMBOLS); left > 0; left--) {
    const symbol = next + reader.varint(SYMBOLS - 1);
    const frequency = reader.varint(TOTAL);
    if (symbol >= SYMBOLS || frequency === 0) throw invalidFrame('a frequency table is malformed');
    table[symbol] = frequency;
    sum += frequency;
    next = symbol + 1;
  }
  if (next > 0 && sum !== TOTAL) throw invalidFrame('a frequency table does not sum up');
}

/**
 * Codes symbols with static tables, one per context (Duda, "Asymmetric numeral systems", arXiv:1311.2540; range variant with bytes as in Giesen's
 * ryg_rans). Written backwards, so that a reader goes forwards.
 */
export function encodeSymbols(symbols: Uint8Array, contexts: Uint16Array, tables: FrequencyTables): Buffer {
  const starts = startsOf(tables);
  const out = Buffer.alloc(symbols.length * 2 + STATE_BYTES + 16);
  let position = out.length;
  let state = LOWER_BOUND;
  for (let index = symbols.length - 1; index >= 0; index--) {
    const entry = (contexts[index] ?? 0) * SYMBOLS + (symbols[index] ?? 0);
    const frequency = tables[entry] ?? 0;
    while (state >>> (31 - FREQUENCY_BITS) >= frequency) {
      out[--position] = state & 255;
      state >>>= 8;
    }
    const quotient = (state / frequency) | 0;
    state = ((quotient << FREQUENCY_BITS) + (state - Math.imul(quotient, frequency)) + (starts[entry] ?? 0)) | 0;
  }
  position -= STATE_BYTES;
  out.writeUInt32LE(state, position);
  return out.subarray(position);
}

/** The inverse. Whatever the bytes are, it ends after `symbols.length` steps; bytes that were not coded with these tables are refused. */
export function decodeSymbols(
  symbols: Uint8Array,
  contexts: Uint16Array,
  tables: FrequencyTables,
  coded: Uint8Array,
): void {
  if (coded.length < STATE_BYTES) throw invalidFrame('its symbols end too early');
  const bySlot = symbolsBySlot(tables);
  const starts = startsOf(tables);
  const end = coded.length;
  let position = STATE_BYTES;
  let state = Buffer.from(coded.buffer, coded.byteOffset, STATE_BYTES).readUInt32LE();
  if (state >= UPPER_BOUND) throw invalidFrame('its symbols are damaged');
  for (let index = 0; index < symbols.length; index++) {
    const context = contexts[index] ?? 0;
    const slot = state & SLOT_MASK;
    const symbol = bySlot[(context << FREQUENCY_BITS) | slot] ?? 0;
    const entry = context * SYMBOLS + symbol;
    symbols[index] = symbol;
    state = (Math.imul(tables[entry] ?? 0, state >>> FREQUENCY_BITS) + slot - (starts[entry] ?? 0)) | 0;
    // A crafted stream can run dry or leave the range of the state: the check at the end finds both.
    while (state < LOWER_BOUND && position < end) state = (state << 8) | (coded[position++] ?? 0);
  }
  if (state !== LOWER_BOUND || position !== end) throw invalidFrame('its symbols are damaged');
}

function startsOf(tables: FrequencyTables): Uint16Array {
  const starts = new Uint16Array(tables.length);
  let sum = 0;
  for (let entry = 0; entry < tables.length; entry++) {
    if (entry % SYMBOLS === 0) sum = 0;
    starts[entry] = sum;
    sum += tables[entry] ?? 0;
  }
  return starts;
}

/** The symbol of each of the 2^12 slots of each context. */
function symbolsBySlot(tables: FrequencyTables): Uint8Array {
  const symbols = new Uint8Array((tables.length / SYMBOLS) * TOTAL);
  let position = 0;
  for (let entry = 0; entry < tables.length; entry++) {
    if (entry % SYMBOLS === 0) position = (entry / SYMBOLS) * TOTAL;
    const frequency = tables[entry] ?? 0;
    symbols.fill(entry % SYMBOLS, position, position + frequency);
    position += frequency;
  }
  return symbols;
}
