import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import {
  contractFor,
  decodeGoldenVectors,
  type GoldenTensor,
  type GoldenVector,
  type Manifest,
  type Tolerance,
} from '@drover/shared/manifest';
import type { InstalledModel } from '../../update/ports.js';
import { ServeError } from '../errors.js';
import type { ModelSession } from './model-session.js';
import { fitTogether, joinRows, rowsOf, splitRows } from '../scheduling/batch.js';
import { fromFloat16 } from '../tensors/float16.js';
import { fromBytes, type ModelTensor, type TensorMap } from '../tensors/tensor.js';

/** Timed runs: as many as fit, within these bounds. */
const SELF_TEST_RUNS = { atLeast: 5, atMost: 50, budgetMs: 1_000 };
/** At each activation, with whoever waits for it. */
const PLACEMENT_RUNS = { atLeast: 3, atMost: 20, budgetMs: 50 };

export interface SelfTestResult {
  /** Largest |actual − expected| over all elements of all vectors. */
  readonly worstDifference: number;
  /** Median over repeated runs of the golden vectors, in this process, without any protocol. */
  readonly latencyUs: number;
}

/** @throws ManifestError GOLDEN_VECTORS_INVALID, ServeError MODEL_UNLOADABLE */
export async function readGoldenVectors(model: InstalledModel): Promise<GoldenVector[]> {
  const file = join(model.directory, model.manifest.goldenVectors.path);
  const bytes = await readFile(file).catch((cause: unknown) => {
    throw new ServeError('MODEL_UNLOADABLE', `The golden vectors of ${model.model} cannot be read.`, {
      remedy: 'Deploy the release again: its files on this device are incomplete.',
      where: file,
      cause,
    });
  });
  return decodeGoldenVectors(bytes);
}

/** Fresh buffers each time: a run may move them away. @throws ServeError SELF_TEST_FAILED */
export function toTensors(tensors: readonly GoldenTensor[]): TensorMap {
  return Object.fromEntries(
    tensors.map(({ name, datatype, shape, bytes }): [string, ModelTensor] => {
      const tensor = fromBytes(datatype, shape, bytes.slice());
      if (tensor) return [name, tensor];
      throw failed(`the golden tensor "${name}" does not hold the elements of its shape [${shape.join(', ')}]`);
    }),
  );
}

/**
 * Runs every golden vector, compares (|actual − expected| ≤ absolute + relative·|expected|, element by element; NaN never passes), then holds
 * the median latency against the contract of the hardware class. An adaptation was tuned to answer differently: of it, the same shapes and finite
 * numbers are asked, and the difference is reported; whether its answers are better is for the gate of fine-tuning to judge.
 *
 * @throws ServeError SELF_TEST_FAILED, MODEL_RUN_FAILED
 */
export async function selfTest(
  session: ModelSession,
  model: Pick<InstalledModel, 'manifest' | 'adaptation'>,
  vectors: readonly GoldenVector[],
  { hardwareClass, provider }: { readonly hardwareClass: string; readonly provider: string },
): Promise<SelfTestResult> {
  const { manifest } = model;
  let worstDifference = 0;
  for (const [index, vector] of vectors.entries()) {
    const actual = await session.run(toTensors(vector.inputs));
    worstDifference = Math.max(worstDifference, checkAnswer({ ...model, provider, vector, index }, actual));
  }
  const latencyUs = await medianLatencyUs(session, vectors, SELF_TEST_RUNS);
  const contract = contractFor(manifest, hardwareClass);
  if (contract && latencyUs > contract.maxLatencyMs * 1_000) {
    throw failed(
      `a run takes ${(latencyUs / 1_000).toFixed(2)} ms (median), the contract for "${hardwareClass}" allows ${contract.maxLatencyMs} ms`,
    );
  }
  return { worstDifference, latencyUs };
}

/** What a provider answered to a golden vector. */
export interface GoldenAnswer extends Pick<InstalledModel, 'manifest' | 'adaptation'> {
  readonly provider: string;
  readonly vector: GoldenVector;
  /** Of the vector. */
  readonly index: number;
}

/** @returns the largest difference. @throws ServeError SELF_TEST_FAILED where it is beyond the tolerance for this provider */
export function checkAnswer(
  { manifest, adaptation, provider, vector, index }: GoldenAnswer,
  actual: TensorMap,
): number {
  const tolerance = adaptation === undefined ? toleranceOn(manifest, provider) : { absolute: Infinity, relative: 0 };
  return compare(index, toTensors(vector.outputs), actual, tolerance);
}

function toleranceOn({ contract: { parity, providerParity = {} } }: Manifest, provider: string): Tolerance {
  return (providerParity as Partial<Record<string, Tolerance>>)[provider] ?? parity;
}

function compare(vector: number, expected: TensorMap, actual: TensorMap, parity: Tolerance): number {
  let worst = 0;
  let worstExcess = 0;
  let worstText: string | undefined;
  for (const [name, wanted] of Object.entries(expected)) {
    const place = `golden vector ${vector}, output "${name}"`;
    const got = actual[name];
    if (!got) throw failed(`${place}: the model has no such output`);
    if (got.datatype !== wanted.datatype) throw failed(`${place}: ${got.datatype} instead of ${wanted.datatype}`);
    if (got.shape.join() !== wanted.shape.join()) {
      throw failed(`${place}: shape [${got.shape.join(', ')}] instead of [${wanted.shape.join(', ')}]`);
    }
    for (let index = 0; index < wanted.data.length; index++) {
      const a = numberAt(got, index, wanted);
      const e = numberAt(wanted, index, wanted);
      const difference = a === e ? 0 : Math.abs(a - e);
      const excess = difference - (parity.absolute + parity.relative * Math.abs(e));
      // Written so that NaN, for which every comparison is false, counts as beyond any tolerance.
      const passes = excess <= 0 && (Number.isFinite(a) || a === e);
      if (difference > worst) worst = difference;
      if (!passes && (worstText === undefined || !(excess <= worstExcess))) {
        worstExcess = Number.isNaN(excess) ? Infinity : excess;
        worstText = `${place}, element ${index}: ${a} instead of ${e} (difference ${difference}, allowed ${parity.absolute} + ${parity.relative}·|expected|)`;
      }
    }
  }
  if (worstText !== undefined) throw failed(worstText);
  return worst;
}

/** A string is 0 where it is the one that was wanted, else nothing that could pass. */
function numberAt({ datatype, data }: ModelTensor, index: number, wanted: ModelTensor): number {
  if (datatype === 'BYTES') return data[index] === wanted.data[index] ? 0 : NaN;
  const value = Number(data[index]);
  return datatype === 'FP16' ? fromFloat16(value) : value;
}

/** Median over repeated runs of the golden vectors. */
export const medianRunMs = async (session: ModelSession, vectors: readonly GoldenVector[]): Promise<number> =>
  (await medianLatencyUs(session, vectors, PLACEMENT_RUNS)) / 1_000;

/**
 * Whether a model answers rows in the same way whatever rows stand beside them: two golden vectors that differ, each alone and both together, within the tolerance for
 * the provider. Not so of one that normalises over its batch. Without two that differ nothing is shown.
 */
export async function areRowsIndependent(
  session: ModelSession,
  { manifest, provider }: Pick<GoldenAnswer, 'manifest' | 'provider'>,
  vectors: readonly GoldenVector[],
): Promise<boolean> {
  const [vector] = vectors;
  const other = vectors.find((each) => vector && !haveSameInputs(each, vector));
  if (!vector || !other) return false;
  const pair = [toTensors(vector.inputs), toTensors(other.inputs)] as const;
  const rows = pair.map(rowsOf).filter((count) => count !== undefined);
  if (rows.length < pair.length || !fitTogether(...pair)) return false;
  const alone = [await session.run(toTensors(vector.inputs)), await session.run(toTensors(other.inputs))];
  const together = splitRows(await session.run(joinRows(pair)), rows);
  const tolerance = toleranceOn(manifest, provider);
  return (
    together !== undefined && alone.every((expected, index) => isClose(expected, together[index] ?? {}, tolerance))
  );
}

const haveSameInputs = (left: GoldenVector, right: GoldenVector): boolean =>
  left.inputs.every(({ bytes }, index) => Buffer.from(bytes).equals(right.inputs[index]?.bytes ?? new Uint8Array()));

function isClose(expected: TensorMap, actual: TensorMap, parity: Tolerance): boolean {
  try {
    compare(0, expected, actual, parity);
    return true;
  } catch (error) {
    if (error instanceof ServeError && error.code === 'SELF_TEST_FAILED') return false;
    throw error;
  }
}

async function medianLatencyUs(
  session: ModelSession,
  vectors: readonly GoldenVector[],
  { atLeast, atMost, budgetMs }: typeof SELF_TEST_RUNS,
): Promise<number> {
  const latencies: number[] = [];
  const started = performance.now();
  for (let run = 0; run < atMost; run++) {
    if (run >= atLeast && performance.now() - started > budgetMs) break;
    const vector = vectors[run % vectors.length];
    if (!vector) break;
    const inputs = toTensors(vector.inputs);
    const before = performance.now();
    await session.run(inputs);
    latencies.push((performance.now() - before) * 1_000);
  }
  latencies.sort((a, b) => a - b);
  return Math.round(latencies[Math.floor(latencies.length / 2)] ?? 0);
}

const failed = (why: string): ServeError =>
  new ServeError('SELF_TEST_FAILED', `The self-test failed: ${why}.`, {
    remedy:
      'Do not roll this release out on this hardware; make golden vectors with the runtime that devices use, or widen the contract.',
  });
