import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startChild } from './serve/children.js';
import { installBenchModel, isAtHand } from './serve/models.js';
import { openBenchServing } from './serve/serving.js';
import type { SwapLoad, SwapSeen } from './serve/swap-child.js';

interface Bench {
  readonly seed: number;
  readonly quick: boolean;
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
}

const FULL = { swaps: 50, leastRequests: 10_000, moreSwaps: 170, steadyMs: 20_000, pauseMs: 50 };
const QUICK = { swaps: 10, leastRequests: 500, moreSwaps: 20, steadyMs: 3_000, pauseMs: 50 };
const SETTLE_MS = 2_000;
const WARM_SWAPS = 20;

/** Two releases in turn under four connections (definitions: "Benchmarks: fixed definitions", swap). */
export default async function swap({ seed, quick, signal, progress }: Bench) {
  if (!isAtHand('rfb320') || !isAtHand('slim320'))
    throw new Error('This benchmark needs the models of ../shared/data (or DROVER_DATA_DIR).');
  const size = quick ? QUICK : FULL;
  const folder = await mkdtemp(join(tmpdir(), 'drover-bench-swap-'));
  const opened = await openBenchServing(folder, progress);
  const { serving } = opened;
  const client = startChild('./swap-child.ts');
  try {
    const rfb = await installBenchModel({ folder, name: 'rfb320', seed, model: 'faces', version: '1.0.0' });
    const slim = await installBenchModel({ folder, name: 'slim320', seed, model: 'faces', version: '2.0.0' });
    const rssMiB = (): number => {
      const status = readFileSync(`/proc/${serving.pid ?? 0}/status`, 'utf8');
      return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
    };
    let turn = 0;
    const swapOnce = async (): Promise<void> => {
      signal.throwIfAborted();
      await serving.activate((turn++ % 2 === 0 ? slim : rfb).installed, signal);
      await delay(size.pauseMs);
    };
    const ask = (kind: 'look' | 'begin'): Promise<SwapSeen> => client.ask<SwapSeen>({ kind });
    await serving.activate(rfb.installed, signal);
    const { input, shape } = rfb;
    const load: SwapLoad = { port: serving.address.port, model: 'faces', input, shape, seed, connections: 4 };
    await client.ask(load);
    await delay(SETTLE_MS);
    await ask('begin');
    progress('steady');
    await delay(size.steadyMs);
    const steady = await ask('begin');
    progress(`${size.swaps} swaps, spread over ${size.leastRequests} requests`);
    let rssAfter20MiB = NaN;
    for (let swaps = 1; swaps <= size.swaps; swaps++) {
      await swapOnce();
      while ((await ask('look')).requests < (swaps * size.leastRequests) / size.swaps) await delay(size.pauseMs);
      if (swaps === Math.min(WARM_SWAPS, size.swaps)) rssAfter20MiB = rssMiB();
    }
    const swapping = await ask('begin');
    progress(`${size.moreSwaps} more swaps`);
    for (let more = 0; more < size.moreSwaps; more++) await swapOnce();
    const rssAfter220MiB = rssMiB();
    const after = await ask('begin');
    return {
      swaps: size.swaps,
      requests: swapping.requests,
      failed: swapping.failed + after.failed,
      outOfOrder: swapping.outOfOrder + after.outOfOrder,
      p99SteadyMs: steady.p99Ms,
      p99SwapMs: swapping.p99Ms,
      rssAfter20MiB,
      rssAfter220MiB,
      raw: { steady, swapping, after, loadAverage: loadavg() },
    };
  } finally {
    await client.stop();
    await opened.close();
    await rm(folder, { recursive: true, force: true });
  }
}
