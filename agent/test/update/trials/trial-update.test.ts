import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Version } from '@drover/shared/ids';
import type { Manifest } from '@drover/shared/manifest';
import type { Deployment, TrialTerms } from '@drover/shared/protocol';
import { nextMacrotask, openBench, served, type Bench } from '../fixtures/bench.js';
import { model, orderFor, publish, signed, trial, type Published } from '../fixtures/releases.js';

const [first, second, third] = [publish('1.0.0'), publish('1.1.0'), publish('1.2.0')];
const otherOutput = publish('1.3.0', { change: { variants: variantsWith({ outputs: 'z' }) } });
const sequences: NonNullable<Manifest['variants'][number]['sequences']> = {
  states: [{ input: 'h', output: 'h2', datatype: 'FP32', shape: [1, 4], initial: { shape: [1, 4] } }],
  maxSequences: 10,
  idleTimeoutMs: 60_000,
};
const START_MS = Date.UTC(2026, 0, 1);
const HOUR_MS = 3_600_000;
const terms: TrialTerms = { mode: 'split', share: 0.1, until: START_MS + 30 * 24 * HOUR_MS };

function variantsWith({ outputs }: { outputs: string }): Manifest['variants'] {
  return first.manifest.variants.map((variant) => ({
    ...variant,
    signature: {
      ...variant.signature,
      outputs: variant.signature.outputs.map((output) => ({ ...output, name: outputs })),
    },
  }));
}

const order = (release: Published, change: Partial<Deployment> = {}) =>
  orderFor(release, { model: trial, trial: terms, ...change });
let bench: Bench;
beforeEach(async () => {
  bench = await openBench([first, second, third, otherOutput]);
  await bench.updater.resume();
  await bench.order(orderFor(first));
});
afterEach(() => bench.close());

const state = () => bench.updater.state().find((each) => each.model === trial);
const untilState = async (wanted: string): Promise<void> => {
  while (state()?.update.state !== wanted) await nextMacrotask();
};
const begin = async (given: Deployment): Promise<void> => {
  await bench.updater.receive(signed(given));
  while (state()?.update.deploymentId !== given.deploymentId || state()?.update.state !== 'probation')
    await nextMacrotask();
};
const withoutNetwork = (): void => {
  bench.server.fault = bench.server.metadataFault = (_request, response) => {
    response.destroy();
    return true;
  };
};

describe('when a trial is ordered', () => {
  it('tries the release beside the one that serves, and says so', async () => {
    await begin(order(second));
    expect(state()).toMatchObject({ running: { release: second.release, trial: terms } });
    expect(served(bench)).toBe('1.0.0');
    expect(bench.serving.activations).toEqual(['1.0.0']);
    expect(bench.updater.active(model)?.release).toEqual(first.release);
    expect(bench.updater.kindsTaken()).toContain('trial');
    expect(bench.transitions.filter((each) => each.model === trial).map(({ to }) => to)).toEqual([
      'received',
      'fetching',
      'verifying',
      'staging',
      'self-testing',
      'activating',
      'probation',
    ]);
  });

  it('ends it by itself when its time is over, without a network, and keeps nothing of it', async () => {
    await begin(order(second, { trial: { ...terms, until: START_MS + HOUR_MS } }));
    withoutNetwork();
    await bench.settled();
    expect(state()).toMatchObject({ update: { state: 'idle' }, lastOutcome: { outcome: 'committed' } });
    expect(state()).not.toHaveProperty('running');
    expect(bench.trials.history).toEqual(['1.1.0', 'end']);
    expect(readdirSync(join(bench.dataDir, 'releases'))).toEqual([first.release.digest.slice(7)]);
    expect(served(bench)).toBe('1.0.0');
  });

  it('ends it by the time that has passed where the wall clock stands still', async () => {
    const stopped = { ...bench.clock, now: () => START_MS };
    await bench.restart({ clock: stopped });
    await begin(order(second, { trial: { ...terms, until: START_MS + HOUR_MS } }));
    await bench.settled();
    expect(state()?.lastOutcome).toMatchObject({ outcome: 'committed' });
  });

  it('of an older release, tries it all the same', async () => {
    await bench.order(orderFor(third));
    await begin(order(second));
    expect(state()?.running?.release).toEqual(second.release);
    expect(served(bench)).toBe('1.2.0');
  });
});

describe('when the agent starts again during a trial', () => {
  it('goes on with it, without a network', async () => {
    await begin(order(second));
    withoutNetwork();
    await bench.restart();
    expect(state()).toMatchObject({
      running: { release: second.release, trial: terms },
      update: { state: 'probation' },
    });
    expect(served(bench)).toBe('1.0.0');
  });

  it('and its time is over meanwhile, ends it without beginning again', async () => {
    await begin(order(second));
    bench.clock.advance(40 * 24 * HOUR_MS);
    await bench.restart();
    await bench.settled();
    expect(bench.trials.history).toEqual([]);
    expect(state()).toMatchObject({ lastOutcome: { outcome: 'committed' } });
    expect(state()).not.toHaveProperty('running');
  });

  it('goes on with it when nothing serves for a while', async () => {
    await begin(order(second));
    bench.trials.isDown = true;
    for (let turn = 0; turn < 20; turn++) await nextMacrotask();
    expect(state()?.update.state).toBe('probation');
  });
});

describe('when a newer order comes during a trial', () => {
  it('whose time has passed, ends the trial, without a network', async () => {
    await begin(order(second));
    withoutNetwork();
    await bench.order(order(second, { trial: { ...terms, until: 0 } }));
    expect(bench.trials.history).toEqual(['1.1.0', 'end']);
    expect(state()).toMatchObject({ update: { state: 'idle' }, lastOutcome: { outcome: 'committed' } });
    expect(state()).not.toHaveProperty('running');
  });

  it('for another release, tries that one', async () => {
    await begin(order(second));
    await begin(order(third));
    expect(bench.trials.history).toEqual(['1.1.0', 'end', '1.2.0']);
    expect(state()?.running?.release).toEqual(third.release);
  });

  it('for the model, updates it under the trial', async () => {
    await begin(order(second));
    await bench.updater.receive(signed(orderFor(third)));
    while (served(bench) !== '1.2.0') await nextMacrotask();
    expect(state()).toMatchObject({ running: { release: second.release }, update: { state: 'probation' } });
  });

  it('that rolls out what is tried, ends the trial', async () => {
    await begin(order(second));
    await bench.order(orderFor(second));
    expect(state()?.lastOutcome).toMatchObject({ outcome: 'fell-back', error: { code: 'TRIAL_NOT_POSSIBLE' } });
    expect(bench.trials.trial(model)).toBeUndefined();
    expect(served(bench)).toBe('1.1.0');
    expect(existsSync(join(bench.dataDir, 'releases', second.release.digest.slice(7)))).toBe(true);
  });
});

describe('when a trial goes wrong', () => {
  it('by the crashes of the candidate, gives it up and leaves what serves alone', async () => {
    await begin(order(second));
    bench.trials.lose(model, { code: 'INFERENCE_PROCESS_DIED', what: 'It died.', remedy: 'None.' });
    await bench.settled();
    expect(state()?.lastOutcome).toMatchObject({ outcome: 'fell-back', error: { code: 'TRIAL_CRASHED' } });
    expect(bench.trials.trial(model)).toBeUndefined();
    expect(bench.serving.activations).toEqual(['1.0.0']);
  });

  it('by the self-test, never begins', async () => {
    bench.serving.faults.selfTest = () => Promise.reject(new Error('wrong answer'));
    await bench.order(order(second));
    expect(bench.trials.history).toEqual([]);
    expect(state()?.lastOutcome).toMatchObject({ outcome: 'fell-back' });
  });
});

describe('when what is ordered cannot be tried', () => {
  const outcomeOf = async (given: Deployment) => {
    await bench.order(given);
    return state()?.lastOutcome;
  };

  it('since it has other outputs, says so', async () => {
    expect(await outcomeOf(order(otherOutput))).toMatchObject({ error: { code: 'TRIAL_INCOMPATIBLE' } });
  });

  it('since it keeps the state of sequences, says so', async () => {
    const [variant] = first.manifest.variants;
    const recurrent = publish('1.4.0', {
      change: { variants: [{ ...(variant as Manifest['variants'][number]), sequences }] },
    });
    bench.server.add(recurrent);
    expect(await outcomeOf(order(recurrent))).toMatchObject({ error: { code: 'TRIAL_NOT_POSSIBLE' } });
  });

  it('since it serves, says so', async () => {
    expect(await outcomeOf(order(first))).toMatchObject({ error: { code: 'TRIAL_NOT_POSSIBLE' } });
  });

  it('since nothing serves, says so', async () => {
    await bench.serving.deactivate(model);
    expect(await outcomeOf(order(second))).toMatchObject({ error: { code: 'TRIAL_NOT_POSSIBLE' } });
  });

  it('since its publisher allows nothing that old, says so', async () => {
    const floored = publish('2.0.0', { change: { revertFloor: Version('1.2.0') } });
    bench.server.add(floored);
    await bench.order(orderFor(floored));
    expect(await outcomeOf(order(second))).toMatchObject({ error: { code: 'DEPLOYMENT_BELOW_REVERT_FLOOR' } });
  });

  it('since its publishers have withdrawn it, refuses it', async () => {
    const { repository } = bench.server;
    const { [`${model}/1.1.0.json`]: _withdrawn, ...rest } = repository.targetsRole(model).targets;
    repository.targetsRole(model).targets = rest;
    repository.publish(model, 'snapshot', 'timestamp');
    expect(await outcomeOf(order(second))).toMatchObject({ outcome: 'refused', error: { code: 'RELEASE_NOT_LISTED' } });
  });

  it('since nobody here tries releases, says so and takes none', async () => {
    await bench.restart({ trials: undefined });
    expect(bench.updater.kindsTaken()).not.toContain('trial');
    expect(await outcomeOf(order(second))).toMatchObject({ error: { code: 'TRIAL_NOT_POSSIBLE' } });
  });
});

it('until it is fetched, a trial can be ended as well', async () => {
  withoutNetwork();
  await bench.updater.receive(signed(order(second)));
  await untilState('fetching');
  await bench.order(order(second, { trial: { ...terms, until: 0 } }));
  expect(state()).toMatchObject({ update: { state: 'idle' }, lastOutcome: { outcome: 'committed' } });
});
