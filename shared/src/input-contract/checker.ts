import { fromFloat16, type ModelTensor, type TensorMap } from '../tensors/index.js';
import { absent, firstBreach, NO_VALUES, NONE, type Values } from './breach.js';
import { areWithin } from './bounds.js';
import { compileContract, type CompiledContract, type CompiledInput, type CompiledRule } from './compile.js';
import type { SignedInput } from './problems.js';
import type { InputContract } from './schema.js';
import { sayValue } from './words.js';

/** What a request did to one rule. */
export interface RuleCount {
  readonly rule: CompiledRule;
  /** Rows that broke it. */
  readonly rows: number;
  /** Present where this request filled a window of a rule about a share of the rows: the share of that window which held. */
  readonly share?: number;
}

/** The first value that broke a rule. */
export interface Offence {
  readonly rule: CompiledRule;
  readonly row: number;
  /** Bounded. */
  readonly value: string;
}

export interface CheckedInputs {
  readonly rows: number;
  /** Rules that something happened to; mostly none. */
  readonly counts: readonly RuleCount[];
  /** Why the request has to be refused. */
  readonly offence?: Offence | undefined;
}

const NOTHING: readonly RuleCount[] = [];
/**
 * Holds inputs against a contract. Values are compared in place: nothing is allocated for a row, and one small object for a request that keeps every
 * rule (FP16, INT64 and UINT64 are widened first).
 *
 * A window of a rule about a share ends with the request that fills it, and has at least its rows; rows without a value for the rule do not count
 * in it. Windows live as long as the checker.
 */
export class InputChecker {
  readonly #contract: CompiledContract;
  /** By the index of the rule: rows of the window that had a value, and those of them that held. */
  readonly #judged: Uint32Array;
  readonly #held: Uint32Array;
  /** By the column: it has a value beyond its bounds. Of the input that is looked at. */
  readonly #beyond: Uint8Array;
  /** Of the last scan: rows with a value, those of them that broke the rule, and the first of these with the place of its value. */
  #scanned = 0;
  #broken = 0;
  #row = NONE;
  #place = NONE;

  constructor(contract: InputContract, signature: readonly SignedInput[]) {
    this.#contract = compileContract(contract, signature);
    this.#judged = new Uint32Array(this.#contract.rules.length);
    this.#held = new Uint32Array(this.#contract.rules.length);
    this.#beyond = new Uint8Array(Math.max(1, ...this.#contract.inputs.map(({ bounds }) => bounds?.low.length ?? 0)));
  }

  /** The inputs fit the signature already. */
  check(inputs: TensorMap): CheckedInputs {
    let counts: RuleCount[] | undefined;
    let offence: Offence | undefined;
    let mostRows = 0;
    for (const compiled of this.#contract.inputs) {
      const tensor = inputs[compiled.name];
      if (!tensor) continue;
      const rows = rowsOf(tensor, compiled);
      mostRows = Math.max(mostRows, rows);
      const values = valuesOf(tensor);
      const width = rows === 0 ? 0 : values.length / rows;
      const isBounded = this.#isBounded(compiled, values);
      for (const rule of isBounded ? compiled.unbounded : compiled.rules) {
        if (rule.isBounded && (isBounded || this.#isColumnBounded(rule, compiled))) this.#pass(rows);
        else this.#scan(rule, values, rows, width);
        const share = rule.mostly < 1 ? this.#closeWindow(rule) : undefined;
        if (this.#broken === 0 && share === undefined) continue;
        (counts ??= []).push({ rule, rows: this.#broken, ...(share === undefined ? {} : { share }) });
        if (this.#broken > 0 && rule.mostly === 1 && this.#contract.isRejecting)
          offence ??= { rule, row: this.#row, value: sayValue(values[this.#place]) };
      }
    }
    return { rows: mostRows, counts: counts ?? NOTHING, offence };
  }

  #isBounded({ bounds }: CompiledInput, values: Values): boolean {
    if (!bounds || values.length === 0) return false;
    this.#beyond.fill(0);
    return areWithin(values as ArrayLike<number>, bounds, this.#beyond);
  }

  /** Of an input with a value beyond its bounds, which need not be in the column of this rule. */
  #isColumnBounded({ column }: CompiledRule, { bounds }: CompiledInput): boolean {
    return bounds !== undefined && bounds.low.length > 1 && column >= 0 && this.#beyond[column] === 0;
  }

  /** Every row has a value and holds. */
  #pass(rows: number): void {
    this.#scanned = rows;
    this.#broken = 0;
  }

  #scan({ test, column }: CompiledRule, values: Values, rows: number, width: number): void {
    this.#scanned = 0;
    this.#broken = 0;
    this.#row = NONE;
    this.#place = NONE;
    const first = column < 0 ? 0 : column;
    const count = column < 0 ? width : 1;
    for (let row = 0; row < rows; row++) {
      const start = row * width + first;
      // A request may leave out a column where the width is variable: its values are missing.
      const place = first < width ? firstBreach(test, values, start, start + count) : absent(test);
      if (place === NO_VALUES) continue;
      this.#scanned += 1;
      if (place === NONE) continue;
      this.#broken += 1;
      if (this.#row !== NONE) continue;
      this.#row = row;
      this.#place = place;
    }
  }

  /** @returns the share of the window that the last scan filled */
  #closeWindow({ index }: CompiledRule): number | undefined {
    const judged = (this.#judged[index] ?? 0) + this.#scanned;
    const held = (this.#held[index] ?? 0) + this.#scanned - this.#broken;
    const isFull = judged >= this.#contract.windowRows;
    this.#judged[index] = isFull ? 0 : judged;
    this.#held[index] = isFull ? 0 : held;
    return isFull ? held / judged : undefined;
  }
}

/** Rows of a tensor: its first axis, where that counts them. */
const rowsOf = ({ shape }: ModelTensor, { hasRows }: CompiledInput): number => (hasRows ? (shape[0] ?? 1) : 1);

function valuesOf(tensor: ModelTensor): Values {
  if (tensor.datatype === 'BYTES') return tensor.data;
  if (tensor.datatype === 'FP16') return Float64Array.from(tensor.data as Uint16Array, fromFloat16);
  if (tensor.data instanceof BigInt64Array || tensor.data instanceof BigUint64Array)
    return Float64Array.from(tensor.data as BigInt64Array, Number);
  return tensor.data;
}
