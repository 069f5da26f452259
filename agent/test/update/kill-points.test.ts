import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { digestOf } from '@drover/shared/ids';
import { modelState, nextMacrotask, openBench, served, type Bench } from './fixtures/bench.js';
import { Fuse, ignoreCut, PowerCut } from './fixtures/fuse.js';
import { model, orderFor, publish, signed } from './fixtures/releases.js';

const first = publish('1.0.0', { bytes: 5_000 });
const second = publish('1.1.0', { bytes: 5_000 });

/** One life of the agent, from its start to the end of all updates or to the cut. */
async function live(bench: Bench, order: ReturnType<typeof orderFor>, fuse: Fuse, isBad = false): Promise<void> {
  await bench.updater.close();
  await bench.boot({ killPoint: fuse.pass });
  if (isBad)
    bench.serving.faults.health = ({ release }) => ({
      requests: 50,
      failures: release.version === '1.1.0' ? 50 : 0,
      crashes: 0,
    });
  await bench.updater.resume().catch(ignoreCut);
  // Without its PUBACK the broker delivers the order again in each life.
  await bench.updater.receive(signed(order)).catch(ignoreCut);
  await nextMacrotask();
  while (!fuse.isBlown && modelState(bench)?.update.state !== 'idle') await nextMacrotask();
}

/** The law: whatever was cut, the release that the last life serves is a whole one, and the journal and serving agree on it. */
function expectConverged(bench: Bench, expected: 'new' | 'old'): void {
  const release = expected === 'new' ? second : first;
  expect(served(bench)).toBe(release.release.version);
  expect(modelState(bench)?.update.state).toBe('idle');
  expect(bench.serving.running(model)?.loaded).toBe(digestOf(release.modelBytes));
  expect(bench.updater.active(model)?.release.digest).toBe(release.release.digest);
}

let bench: Bench;
beforeEach(async () => {
  bench = await openBench([first, second]);
  await bench.updater.resume();
  await bench.order(orderFor(first));
});
afterEach(() => bench.close());

describe('when the agent starts again', () => {
  it.each(['journal:to:cleaning-up', 'journal:to:committing', 'journal:to:falling-back'])(
    'serves by the end of its resumption, whatever it has to do after the cut at %s',
    async (point) => {
      await bench.restart({
        killPoint: (name) => {
          if (name === point) throw new PowerCut(name);
        },
      });
      const failures = point === 'journal:to:committing' ? 0 : 50;
      bench.serving.faults.health = ({ release }) => ({
        requests: 50,
        failures: release.version === '1.1.0' ? failures : 0,
        crashes: 0,
      });
      const order = orderFor(second);
      await bench.updater.receive(signed(order));
      const last = point === 'journal:to:cleaning-up' ? 'falling-back' : 'probation';
      while (!bench.transitions.some(({ to, deploymentId }) => to === last && deploymentId === order.deploymentId))
        await nextMacrotask();
      for (let turn = 0; turn < 50; turn += 1) await nextMacrotask();
      await bench.updater.close();
      await bench.boot();
      await bench.updater.resume();
      expect(served(bench)).toBe(point === 'journal:to:cleaning-up' ? '1.0.0' : '1.1.0');
    },
  );
});

describe.each([
  { candidate: 'a good release', isBad: false, end: 'new' as const, outcome: 'committed' },
  { candidate: 'a release that fails in probation', isBad: true, end: 'old' as const, outcome: 'fell-back' },
])('when the power is cut while $candidate is installed', ({ isBad, end, outcome }) => {
  it('converges from a cut at every single write', { timeout: 180_000 }, async () => {
    const probe = new Fuse();
    await live(bench, orderFor(second), probe, isBad);
    expect(probe.names.length).toBeGreaterThan(20);
    for (let at = 0; at < probe.names.length; at += 1) {
      await bench.close();
      bench = await openBench([first, second]);
      await bench.updater.resume();
      await bench.order(orderFor(first));
      const order = orderFor(second);
      const cut = new Fuse(at);
      await live(bench, order, cut, isBad);
      expect(cut.names).toHaveLength(at + 1);
      await live(bench, order, new Fuse(), isBad);
      expectConverged(bench, end);
      expect(modelState(bench)?.lastOutcome, `cut at ${cut.names.at(-1) ?? ''}`).toMatchObject({
        outcome,
        deploymentId: order.deploymentId,
      });
    }
  });

  it('converges from any sequence of cuts', { timeout: 180_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: 30 }), { minLength: 1, maxLength: 5 }), async (cuts) => {
        await bench.close();
        bench = await openBench([first, second]);
        await bench.updater.resume();
        await bench.order(orderFor(first));
        const order = orderFor(second);
        for (const at of cuts) await live(bench, order, new Fuse(at), isBad);
        await live(bench, order, new Fuse(), isBad);
        // Three cuts in a row while the candidate may be their cause end in its refusal by the reboot-loop breaker.
        const isBroken = modelState(bench)?.lastOutcome?.error?.code === 'UPDATE_REBOOT_LOOP';
        expect(isBroken).toBe(isBroken && cuts.length >= 3);
        expectConverged(bench, isBroken ? 'old' : end);
      }),
      { numRuns: 6 },
    );
  });
});
