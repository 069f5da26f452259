import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Version } from '@drover/shared/ids';
import { assembleParametersRelease } from '@drover/shared/release';
import type { Deployment } from '@drover/shared/protocol';
import { nextMacrotask, openBench, type Bench } from '../fixtures/bench.js';
import { Fuse, ignoreCut } from '../fixtures/fuse.js';
import { line, model, orderFor, publish, quickProbation, signed, type Published } from '../fixtures/releases.js';

const values = (version: string, threshold: number): Published => {
  const assembled = assembleParametersRelease(
    { model, compatible: '*', parameters: { threshold: { type: 'number', default: threshold } }, sites: {} },
    { version: Version(version), createdAt: new Date(0) },
  );
  return { ...assembled, release: { version: Version(version), digest: assembled.digest } } as unknown as Published;
};
const base = publish('1.0.0', { bytes: 5_000 });
const [first, second] = [values('1.0.0', 0.1), values('1.1.0', 0.2)];

/** One life of the agent, from its start to the end of the update or to the cut at the `at`th write. */
async function live(bench: Bench, order: Deployment, isBad: boolean, at?: number): Promise<string[]> {
  const fuse = new Fuse(at);
  await bench.updater.close();
  await bench.boot({ killPoint: fuse.pass });
  await bench.updater.resume().catch(ignoreCut);
  await bench.updater.receive(signed(order)).catch(ignoreCut);
  const state = () => bench.updater.state().find((each) => each.model === line)?.update.state;
  do {
    if (isBad) bench.parameters.reject(model, { digest: second.release.digest, reason: 'no' });
    await nextMacrotask();
  } while (!fuse.isBlown && state() !== 'idle');
  return fuse.names;
}

/** What is not common to all kinds of releases; cuts at every other write are tried with models (../kill-points.test.ts). */
const OWN_WRITES =
  /^(parameters:|journal:(activate|to:(activating|probation|committing|falling-back|cleaning-up|idle)))/;

/** The law: whatever was cut, journal, file and applications have the same values in the end, whole. */
it.each([
  { what: 'good parameters', isBad: false, version: '1.1.0', outcome: 'committed' },
  { what: 'parameters that an application refuses', isBad: true, version: '1.0.0', outcome: 'fell-back' },
])(
  'when the power is cut at any of its writes while $what are installed, it converges',
  { timeout: 180_000 },
  async (row) => {
    const fresh = async () => {
      const bench = await openBench([base, first, second]);
      await bench.updater.resume();
      await bench.order(orderFor(base));
      await bench.order(orderFor(first, { model: line }));
      return bench;
    };
    // Bad ones end probation by being refused, never by its time, which the clock of the bench jumps over.
    const probation = row.isBad ? { ...quickProbation, minMs: 6 * 86_400_000, maxMs: 29 * 86_400_000 } : quickProbation;
    const probe = await fresh();
    const writes = await live(probe, orderFor(second, { model: line, probation }), row.isBad);
    await probe.close();
    expect(writes).toContain(`parameters:${line}`);
    for (const at of writes.keys()) {
      if (!OWN_WRITES.test(writes[at] ?? '')) continue;
      const bench = await fresh();
      const order = orderFor(second, { model: line, probation });
      await live(bench, order, row.isBad, at);
      await live(bench, order, row.isBad);
      const state = bench.updater.state().find((each) => each.model === line);
      const file = join(bench.dataDir, 'parameters', `${model}.json`);
      const context = `cut at ${writes[at] ?? ''}`;
      expect(state?.lastOutcome, context).toMatchObject({ outcome: row.outcome, deploymentId: order.deploymentId });
      expect(state?.running?.release.version, context).toBe(row.version);
      expect(bench.parameters.parametersInForce(model)?.release.version, context).toBe(row.version);
      expect(existsSync(file) && JSON.parse(readFileSync(file, 'utf8')), context).toMatchObject({
        version: row.version,
      });
      expect(bench.serving.running(model)?.release.version, context).toBe('1.0.0');
      await bench.close();
    }
  },
);
