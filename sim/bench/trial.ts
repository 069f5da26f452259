import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ProcessServing } from '@drover/agent/serve';
import type { Trial } from '@drover/agent/update';
import { startChild, type Load, type Measured } from './serve/children.js';
import { installBenchModel, isAtHand, MODELS, type BenchModelName } from './serve/models.js';
import { openBenchServing } from './serve/serving.js';

interface Bench {
  readonly seed: number;
  readonly quick: boolean;
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
}

const FULL = { rounds: 10, forMs: 3_000 };
const QUICK = { rounds: 3, forMs: 600 };
/** Of the requests. */
const SHARE = 0.1;
const BOUND = 1.1;

/**
 * What a release in the shadow costs the one that serves: its 99th percentile over HTTP with and without, alternating, one connection, the same net as
 * candidate. Bound: 1.10 (median of the ratios of the rounds).
 */
export default async function trial({ seed, quick, signal, progress }: Bench) {
  const names = (['mnist', 'rfb320', 'squeezenet'] as const).filter(isAtHand);
  if (names.length === 0) throw new Error('This benchmark needs the models of ../shared/data (or DROVER_DATA_DIR).');
  const folder = await mkdtemp(join(tmpdir(), 'drover-bench-trial-'));
  const opened = await openBenchServing(folder, progress);
  try {
    const models: Record<string, object> = {};
    for (const name of names) {
      progress(name);
      const { serving } = opened;
      models[name] = await measureModel({ name, seed, folder, serving, signal, progress, ...(quick ? QUICK : FULL) });
    }
    return { models, bound: BOUND, raw: { share: SHARE, cores: availableParallelism(), loadAverage: loadavg() } };
  } finally {
    await opened.close();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Measure {
  readonly name: BenchModelName;
  readonly seed: number;
  readonly folder: string;
  readonly serving: ProcessServing;
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
  readonly rounds: number;
  readonly forMs: number;
}

async function measureModel({ name, seed, folder, serving, signal, progress, rounds, forMs }: Measure) {
  const { installed, input, shape } = await installBenchModel({ folder, name, seed });
  const candidate = await installBenchModel({ folder: join(folder, 'candidate'), name, seed, version: '1.1.0' });
  await serving.activate(installed, signal);
  const shadow: Trial = {
    candidate: candidate.installed,
    terms: { mode: 'shadow', share: SHARE, until: Number.MAX_SAFE_INTEGER },
  };
  const client = startChild('./load-child.ts');
  const url = `http://127.0.0.1:${serving.address.port}`;
  const { range } = MODELS[name];
  const load: Load = { url, model: name, form: 'binary', connections: 1, input, shape, range, seed, forMs };
  const ask = () => client.ask<Measured>(load);
  const seen: Record<'without' | 'with', Measured[]> = { without: [], with: [] };
  try {
    for (let round = 0; round < rounds; round++) {
      signal.throwIfAborted();
      // Each first in every other round: what warms up or drifts meets both.
      for (const way of round % 2 === 0 ? (['without', 'with'] as const) : (['with', 'without'] as const)) {
        if (way === 'with') await serving.startTrial(shadow, signal);
        seen[way].push(await ask());
        if (way === 'with') await serving.endTrial(installed.model);
      }
      progress(`  round ${round + 1} of ${rounds}`);
    }
  } finally {
    await client.stop();
    await serving.deactivate(installed.model);
  }
  const ratios = seen.with.map(({ p99Ms }, round) => p99Ms / (seen.without[round]?.p99Ms ?? NaN));
  return {
    p99WithoutMs: median(seen.without.map(({ p99Ms }) => p99Ms)),
    p99WithMs: median(seen.with.map(({ p99Ms }) => p99Ms)),
    p99Ratio: median(ratios),
    p50Ratio: median(seen.with.map(({ p50Ms }, round) => p50Ms / (seen.without[round]?.p50Ms ?? NaN))),
    isWithinBound: median(ratios) <= BOUND,
    seen,
  };
}

const median = (values: readonly number[]): number =>
  [...values].sort((left, right) => left - right)[Math.floor(values.length / 2)] ?? NaN;
