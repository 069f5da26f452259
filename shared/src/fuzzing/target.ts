/** One parser of bytes from outside, as the fuzzer sees it. */
export interface FuzzTarget {
  readonly name: string;
  /** Names of the exported functions that it exercises; a test compares them with what the packages export. */
  readonly covers: readonly string[];
  /** `json`: the bytes are a JSON document, which is also changed as a tree. */
  readonly format: 'bytes' | 'json';
  /** Valid documents, from which the changed ones are made. `parse` must accept each. */
  readonly seeds: () => readonly Uint8Array[];
  /** Returns, or throws a CodedError. Where a document is signed, it signs the bytes itself, so that the parser behind the signature is met. */
  readonly parse: (bytes: Uint8Array) => unknown;
}

/** The law: a value or a CodedError, and nothing left behind. */
export interface Finding {
  readonly kind: 'crash' | 'hang';
  readonly what: string;
}

export interface CaseBounds {
  /** Processor time, not wall time: a busy machine makes no findings. */
  readonly maxCpuMs: number;
}

export const DEFAULT_CASE_BOUNDS: CaseBounds = { maxCpuMs: 2_000 };

/** Runs one case in this process. A parser that never returns is the caller's to end. */
export async function judgeCase(
  target: FuzzTarget,
  bytes: Uint8Array,
  { maxCpuMs }: CaseBounds = DEFAULT_CASE_BOUNDS,
): Promise<Finding | undefined> {
  const before = process.cpuUsage();
  let finding: Finding | undefined;
  try {
    await target.parse(bytes);
  } catch (error) {
    if (!isCoded(error)) finding = { kind: 'crash', what: describe(error) };
  }
  const polluted = Object.keys(Object.prototype)[0];
  if (polluted !== undefined) {
    Reflect.deleteProperty(Object.prototype, polluted);
    finding = { kind: 'crash', what: `Object.prototype has got the key ${JSON.stringify(polluted)}` };
  }
  const { user, system } = process.cpuUsage(before);
  const cpuMs = (user + system) / 1000;
  if (!finding && cpuMs > maxCpuMs) finding = { kind: 'hang', what: `${Math.round(cpuMs)} ms of processor time` };
  return finding;
}

/** By its parts, not by its class: a parser may come from another copy of this package (its sources beside its build). */
const isCoded = (error: unknown): boolean =>
  error instanceof Error &&
  ['code', 'fault', 'remedy'].every((part) => typeof Reflect.get(error, part) === 'string') &&
  Reflect.get(error, 'code') !== 'INTERNAL_ERROR';

const describe = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message).split('\n').slice(0, 6).join('\n') : String(error);
