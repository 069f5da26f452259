import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Deployment } from '@drover/shared/protocol';
import { nextMacrotask, openBench, served, type Bench } from '../fixtures/bench.js';
import { Fuse, ignoreCut } from '../fixtures/fuse.js';
import { model, orderFor, publish, signed, trial } from '../fixtures/releases.js';

const base = publish('1.0.0', { bytes: 5_000 });
const candidate = publish('1.1.0', { bytes: 5_000 });

/** One life of the agent, from its start to the end of the trial or to the cut at the `at`th write. */
async function live(bench: Bench, order: Deployment, at?: number): Promise<string[]> {
  const fuse = new Fuse(at);
  await bench.updater.close();
  await bench.boot({ killPoint: fuse.pass });
  await bench.updater.resume().catch(ignoreCut);
  await bench.updater.receive(signed(order)).catch(ignoreCut);
  const state = () => bench.updater.state().find((each) => each.model === trial)?.update.state;
  do await nextMacrotask();
  while (!fuse.isBlown && state() !== 'idle');
  return fuse.names;
}

/** What is not common to all kinds of orders; cuts at every other write are tried with models (../kill-points.test.ts). */
const OWN_WRITES = /^journal:(activate|to:(activating|probation|committing|idle))/;

it(
  'when the power is cut at any of its writes during a trial, it ends all the same, and nothing is left of it',
  { timeout: 180_000 },
  async () => {
    const fresh = async () => {
      const bench = await openBench([base, candidate]);
      await bench.updater.resume();
      await bench.order(orderFor(base));
      return bench;
    };
    const ordered = (bench: Bench) =>
      orderFor(candidate, { model: trial, trial: { mode: 'split', share: 0.5, until: bench.clock.now() + 10_000 } });
    const probe = await fresh();
    const writes = await live(probe, ordered(probe));
    await probe.close();
    expect(writes.filter((name) => OWN_WRITES.test(name))).toHaveLength(5);
    for (const at of writes.keys()) {
      if (!OWN_WRITES.test(writes[at] ?? '')) continue;
      const bench = await fresh();
      const order = ordered(bench);
      await live(bench, order, at);
      await live(bench, order);
      const context = `cut at ${writes[at] ?? ''}`;
      const state = bench.updater.state().find((each) => each.model === trial);
      expect(state, context).toMatchObject({ lastOutcome: { outcome: 'committed', deploymentId: order.deploymentId } });
      expect(state, context).not.toHaveProperty('running');
      expect(bench.trials.trial(model), context).toBeUndefined();
      expect(readdirSync(join(bench.dataDir, 'releases')), context).toEqual([base.release.digest.slice(7)]);
      expect(served(bench), context).toBe('1.0.0');
      await bench.close();
    }
  },
);
