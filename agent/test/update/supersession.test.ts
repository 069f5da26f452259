import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { UpdateState } from '@drover/shared/protocol';
import { modelState, nextMacrotask, openBench, served, type Bench } from './fixtures/bench.js';
import { orderFor, publish, signed } from './fixtures/releases.js';

const first = publish('1.0.0', { bytes: 5_000 });
const second = publish('1.1.0', { bytes: 5_000 });
const third = publish('1.2.0', { bytes: 5_000 });

/** Issue and docs/protocol.md, section 4: a deployment in progress never keeps the next one out for longer. */
const ACCEPT_WITHIN_MS = 1_000;

let bench: Bench;
beforeEach(async () => {
  bench = await openBench([first, second, third]);
  await bench.updater.resume();
  await bench.order(orderFor(first));
});
afterEach(() => bench.close());

const STATES: readonly UpdateState[] = [
  'received',
  'fetching',
  'verifying',
  'staging',
  'self-testing',
  'activating',
  'probation',
  'committing',
  'falling-back',
  'cleaning-up',
];

/** Orders `second` (which fails in its self-test where `fails`), and acts once its update has entered `state`. */
async function enter(state: UpdateState, act: () => Promise<void>): Promise<void> {
  const fails = state === 'falling-back' || state === 'cleaning-up';
  if (fails) bench.serving.faults.selfTest = ({ release }) => rejectsIf(release.version === '1.1.0');
  const order = orderFor(second);
  await bench.updater.receive(signed(order));
  while (!bench.transitions.some(({ to, deploymentId }) => to === state && deploymentId === order.deploymentId))
    await nextMacrotask();
  await act();
}

const rejectsIf = (fails: boolean): Promise<void> =>
  fails ? Promise.reject(new Error('the self-test fails')) : Promise.resolve();

/** For how long this process could have run and got no processor, in all (Linux, Documentation/scheduler/sched-stats.rst); 0 where the system does not say. */
function starvedMs(): number {
  if (!existsSync(SCHEDULER_STATISTICS)) return 0;
  const [, waitedNs = '0'] = readFileSync(SCHEDULER_STATISTICS, 'utf8').split(' ');
  return Number(waitedNs) / 1e6;
}
const SCHEDULER_STATISTICS = '/proc/self/schedstat';

async function expectTaken(order: ReturnType<typeof orderFor>): Promise<void> {
  // A busy machine is no fault of the updater.
  const startedMs = performance.now() - starvedMs();
  await bench.updater.receive(signed(order));
  expect(performance.now() - starvedMs() - startedMs).toBeLessThan(ACCEPT_WITHIN_MS);
  expect(modelState(bench)?.accepted).toEqual({ epoch: order.epoch, counter: order.counter });
  await bench.settled();
  await nextMacrotask();
  await bench.settled();
  expect(modelState(bench)?.lastOutcome).toMatchObject({ outcome: 'committed', deploymentId: order.deploymentId });
  expect(modelState(bench)?.accepted).toEqual({ epoch: order.epoch, counter: order.counter });
  expect(served(bench)).toBe('1.2.0');
}

describe('when a newer order arrives', () => {
  it.each(STATES)('in %s, it is accepted within a second and carried out', async (state) => {
    await enter(state, () => expectTaken(orderFor(third)));
  });

  // What they journal at their end was read at their beginning.
  it.each(['probation', 'committing', 'cleaning-up'] as const)(
    'a few turns after %s began, it is not lost',
    async (state) => {
      for (const turns of [1, 2, 4]) {
        await bench.close();
        bench = await openBench([first, second, third]);
        await bench.updater.resume();
        await bench.order(orderFor(first));
        await enter(state, async () => {
          for (let turn = 0; turn < turns; turn += 1) await nextMacrotask();
          await expectTaken(orderFor(third));
        });
      }
    },
  );
});

describe('when the update in progress hangs and ignores that it shall stop', () => {
  const never = (): Promise<void> => new Promise(() => undefined);

  it('in the self-test, a newer order is accepted within a second and carried out', async () => {
    bench.serving.faults.selfTest = ({ release }) => (release.version === '1.1.0' ? never() : Promise.resolve());
    await enter('self-testing', () => expectTaken(orderFor(third)));
  });

  it('in the activation, a newer order is accepted within a second and carried out', async () => {
    bench.serving.faults.activate = ({ release }) => (release.version === '1.1.0' ? never() : Promise.resolve());
    await enter('activating', () => expectTaken(orderFor(third)));
  });

  it('in the fetch, a newer order is accepted within a second and carried out', async () => {
    bench.server.fault = (request, response) => {
      if (!request.url?.includes(second.release.digest.slice(7))) return false;
      response.writeHead(200);
      response.write('{');
      return true;
    };
    await enter('fetching', () => expectTaken(orderFor(third)));
  });

  it('in the way back, a newer order is accepted within a second, and begun once that is given up', async () => {
    await bench.restart({ deadlinesMs: { activating: 300 } });
    let hangs = true;
    bench.serving.faults.health = ({ release }) => ({
      requests: 50,
      failures: release.version === '1.1.0' ? 50 : 0,
      crashes: 0,
    });
    bench.serving.faults.activate = ({ release }) =>
      hangs && release.version === '1.0.0' ? never() : Promise.resolve();
    await bench.updater.receive(signed(orderFor(second)));
    while (modelState(bench)?.update.state !== 'falling-back') await nextMacrotask();
    await pause(20);
    hangs = false;
    await expectTaken(orderFor(third));
    expect(bench.incidents.map(({ error }) => error.code)).toContain('UPDATE_FALLBACK_FAILED');
  });
});
