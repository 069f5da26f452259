import { mkdtemp, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { startChild, type Load, type Measured } from './serve/children.js';
import { installBenchModel, isAtHand, MODELS } from './serve/models.js';
import { openBenchServing } from './serve/serving.js';

interface Bench {
  readonly seed: number;
  readonly quick: boolean;
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
}

/** Between two looks at the clock. */
const INTERVAL_MS = 2;

/**
 * How late the event loop of the process that supervises comes to its timers while three models run flat out in the inference process, each under a client of its own: recorder and monitor
 * are on, as on a device. In turn with the same process left alone, since a busy machine is late by itself.
 */
export default async function lag({ seed, quick, signal, progress }: Bench) {
  const names = (['rfb320', 'squeezenet', 'densenet121'] as const).filter(isAtHand);
  if (names.length === 0) throw new Error('This benchmark needs the models of ../shared/data (or DROVER_DATA_DIR).');
  const [rounds, forMs] = quick ? [2, 1_000] : [5, 5_000];
  const folder = await mkdtemp(join(tmpdir(), 'drover-bench-lag-'));
  const opened = await openBenchServing(folder, progress);
  const { serving } = opened;
  const clients = names.map((name) => ({ name, client: startChild('./load-child.ts') }));
  const loads = new Map<string, Load>();
  const idle: number[] = [];
  const busy: number[] = [];
  const seen: Record<string, Measured[]> = {};
  try {
    for (const name of names) {
      const { installed, input, shape } = await installBenchModel({ folder, name, seed });
      await serving.activate(installed, signal);
      const url = `http://127.0.0.1:${serving.address.port}`;
      const { range } = MODELS[name];
      loads.set(name, { url, model: name, form: 'binary', connections: 2, forMs, input, shape, range, seed });
    }
    for (let round = 0; round < rounds; round++) {
      signal.throwIfAborted();
      const alone = watchLag(idle);
      await new Promise((resolve) => setTimeout(resolve, forMs / 2));
      alone();
      const loaded = watchLag(busy);
      await Promise.all(
        clients.map(async ({ name, client }) => (seen[name] ??= []).push(await client.ask(loads.get(name) ?? {}))),
      );
      loaded();
      progress(`round ${round + 1} of ${rounds}`);
    }
  } finally {
    await Promise.all(clients.map(({ client }) => client.stop()));
    await opened.close();
    await rm(folder, { recursive: true, force: true });
  }
  return {
    supervisorLagP99Ms: quantile(busy, 0.99),
    supervisorLagMaxMs: quantile(busy, 1),
    idleLagP99Ms: quantile(idle, 0.99),
    rps: Object.fromEntries(Object.entries(seen).map(([name, each]) => [name, each.map(({ rps }) => rps)])),
    raw: { looks: busy.length, idleLooks: idle.length, loadAverage: loadavg() },
  };
}

/** Adds how late each look was, in milliseconds, until it is told to stop. */
function watchLag(latenessMs: number[]): () => void {
  let dueMs = performance.now() + INTERVAL_MS;
  let timer = setTimeout(function look() {
    const nowMs = performance.now();
    latenessMs.push(Math.max(0, nowMs - dueMs));
    dueMs = nowMs + INTERVAL_MS;
    timer = setTimeout(look, INTERVAL_MS);
  }, INTERVAL_MS);
  return () => clearTimeout(timer);
}

function quantile(values: readonly number[], share: number): number {
  const ascending = [...values].sort((left, right) => left - right);
  return ascending[Math.min(ascending.length - 1, Math.floor(share * ascending.length))] ?? NaN;
}
