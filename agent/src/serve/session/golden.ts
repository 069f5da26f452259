import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { contractFor, decodeGoldenVectors, type GoldenVector } from '@drover/shared/manifest';
import type { GoldenCompared, InstalledModel } from '../../update/ports.js';
import { ServeError } from '../errors.js';
import type { ModelSession } from './model-session.js';
import { fitTogether, joinRows, rowsOf, splitRows } from '../scheduling/batch.js';
import { compareElements, toleranceOn } from './elements.js';
import { GoldenCheck, selfTestFailed, toTensors, type TestedModel } from './golden-check.js';

/** Timed runs: as many as fit, within these bounds. */
const SELF_TEST_RUNS = { atLeast: 5, atMost: 50, budgetMs: 1_000 };
/** At each activation, with whoever waits for it. */
const PLACEMENT_RUNS = { atLeast: 3, atMost: 20, budgetMs: 50 };

export interface SelfTestResult extends GoldenCompared {
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

/**
 * Runs every golden vector and compares (`GoldenCheck`), then holds the median latency against the contract of the hardware class.
 *
 * @throws ServeError SELF_TEST_FAILED, MODEL_RUN_FAILED
 */
export async function selfTest(
  session: ModelSession,
  model: TestedModel,
  vectors: readonly GoldenVector[],
  { hardwareClass, provider }: { readonly hardwareClass: string; readonly provider: string },
): Promise<SelfTestResult> {
  const { manifest } = model;
  const check = new GoldenCheck(model, provider);
  for (const vector of vectors) check.add(vector, await session.run(toTensors(vector.inputs)));
  const compared = check.demand();
  const latencyUs = Math.round(median(await latenciesUs(session, vectors, SELF_TEST_RUNS)));
  const contract = contractFor(manifest, hardwareClass);
  if (contract && latencyUs > contract.maxLatencyMs * 1_000) {
    throw selfTestFailed(
      `a run takes ${(latencyUs / 1_000).toFixed(2)} ms (median), the contract for "${hardwareClass}" allows ${contract.maxLatencyMs} ms`,
    );
  }
  return { ...compared, latencyUs };
}

/** The fastest of repeated runs of the golden vectors: what a run takes by itself, whatever else the device was doing meanwhile. */
export const fastestRunMs = async (session: ModelSession, vectors: readonly GoldenVector[]): Promise<number> =>
  Math.min(...(await latenciesUs(session, vectors, PLACEMENT_RUNS))) / 1_000;

/**
 * Whether a model answers rows in the same way whatever rows stand beside them: two golden vectors that differ, each alone and both together, within the tolerance for
 * the provider. Not so of one that normalises over its batch. Without two that differ nothing is shown.
 */
export async function areRowsIndependent(
  session: ModelSession,
  { manifest, provider }: Pick<InstalledModel, 'manifest'> & { readonly provider: string },
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
    together !== undefined &&
    alone.every((expected, index) => compareElements(expected, together[index] ?? {}, tolerance).problem === undefined)
  );
}

const haveSameInputs = (left: GoldenVector, right: GoldenVector): boolean =>
  left.inputs.every(({ bytes }, index) => Buffer.from(bytes).equals(right.inputs[index]?.bytes ?? new Uint8Array()));

/** In ascending order. */
async function latenciesUs(
  session: ModelSession,
  vectors: readonly GoldenVector[],
  { atLeast, atMost, budgetMs }: typeof SELF_TEST_RUNS,
): Promise<number[]> {
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
  return latencies.sort((a, b) => a - b);
}

const median = (ascending: readonly number[]): number => ascending[Math.floor(ascending.length / 2)] ?? 0;
