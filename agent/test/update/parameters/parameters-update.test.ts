import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestOf, Version } from '@drover/shared/ids';
import { assembleParametersRelease, type ParametersDraft } from '@drover/shared/release';
import { nextMacrotask, openBench, served, type Bench } from '../fixtures/bench.js';
import { line, model, orderFor, publish, quickProbation, signed, type Published } from '../fixtures/releases.js';

const draft: ParametersDraft = {
  model,
  compatible: '^1.0.0',
  parameters: {
    threshold: { type: 'number', minimum: 0, maximum: 1, default: 0.5 },
    action: { type: 'enum', values: ['accept', 'reject'], default: 'accept' },
  },
  sites: { hall: { threshold: 0.8 }, yard: { threshold: 0.2 } },
};
function parameters(version: string, change: Partial<ParametersDraft> = {}): Published {
  const assembled = assembleParametersRelease(
    { ...draft, ...change },
    { version: Version(version), createdAt: new Date(0) },
  );
  const release = { version: assembled.manifest.version, digest: assembled.digest };
  return { ...assembled, release } as unknown as Published;
}
const [firstModel, secondModel, nextMajor] = [publish('1.0.0'), publish('1.1.0'), publish('2.0.0')];
const first = parameters('1.0.0');
const second = parameters('1.1.0', { sites: { hall: { threshold: 0.9 } } });
const third = parameters('1.2.0', { sites: { hall: { threshold: 0.7 } } });

/** Longer than any test, by a clock that jumps: only what happens in it ends it. */
const longProbation = { ...quickProbation, minMs: 6 * 86_400_000, maxMs: 29 * 86_400_000 };

const SITE = 'hall';
const order = (release: Pick<Published, 'release'>, change = {}) =>
  orderFor(release, { model: line, site: SITE, ...change });
let bench: Bench;
const open = async () => {
  bench = await openBench([firstModel, secondModel, nextMajor, first, second, third], { site: SITE });
  await bench.updater.resume();
};
beforeEach(async () => {
  await open();
  await bench.order(orderFor(firstModel));
});
afterEach(() => bench.close());

const state = () => bench.updater.state().find((each) => each.model === line);
const file = () => join(bench.dataDir, 'parameters', `${model}.json`);
const fileContent = (): unknown => (existsSync(file()) ? JSON.parse(readFileSync(file(), 'utf8')) : undefined);
const inForce = () => bench.parameters.parametersInForce(model);
const given = () => (JSON.parse(inForce()?.document ?? '{}') as { values?: unknown }).values;
const untilState = async (wanted: string): Promise<void> => {
  while (state()?.update.state !== wanted) await nextMacrotask();
};

describe('when parameters are ordered', () => {
  it('takes those of its site over the defaults, gives them to applications and to the file, and says what is in force', async () => {
    await bench.order(order(first));
    expect(state()).toMatchObject({ running: { release: first.release }, lastOutcome: { outcome: 'committed' } });
    expect(fileContent()).toEqual({
      format: 'drover.parameter-values/1',
      model,
      version: '1.0.0',
      digest: first.release.digest,
      site: SITE,
      values: { threshold: 0.8, action: 'accept' },
    });
    expect(given()).toEqual({ threshold: 0.8, action: 'accept' });
    expect(state()?.running?.loaded).toBe(digestOf(readFileSync(file())));
    expect(readFileSync(file(), 'utf8')).not.toContain('yard');
    expect(bench.transitions.filter((each) => each.model === line).map(({ to }) => to)).toEqual([
      'received',
      'fetching',
      'verifying',
      'staging',
      'self-testing',
      'activating',
      'probation',
      'committing',
      'idle',
    ]);
  });

  it('leaves the model that serves alone', async () => {
    await bench.order(order(first));
    expect(bench.serving.activations).toEqual(['1.0.0']);
  });

  it('after a restart, gives the same again, without a network', async () => {
    await bench.order(order(first));
    bench.server.fault = bench.server.metadataFault = () => {
      throw new Error('no network');
    };
    await bench.restart();
    expect(given()).toEqual({ threshold: 0.8, action: 'accept' });
    expect(state()?.running?.release).toEqual(first.release);
  });

  it('when the device was enrolled elsewhere since, gives the values of the new site', async () => {
    await bench.order(order(first));
    await bench.restart({ site: 'yard' });
    expect(given()).toEqual({ threshold: 0.2, action: 'accept' });
  });

  it.each([
    ['for another site', { site: 'yard' }],
    ['for no site', {}],
  ])('%s, refuses the order', async (_, change) => {
    await bench.updater.receive(signed(orderFor(first, { model: line, ...change })));
    expect(bench.refusals.at(-1)).toMatchObject({ error: { code: 'DEPLOYMENT_WRONG_SITE' } });
    expect(inForce()).toBeUndefined();
  });

  it('that are older, refuses them without a grant and takes them with one', async () => {
    await bench.order(order(second));
    await bench.order(order(first));
    expect(bench.refusals.at(-1)).toMatchObject({ error: { code: 'DEPLOYMENT_ROLLBACK_REFUSED' } });
    const downgrade = {
      from: second.release,
      to: first.release,
      reason: 'worse',
      cohort: 'canary',
      expiresAt: Date.UTC(2027, 0, 1),
    };
    await bench.order(order(first, { downgrade }));
    expect(given()).toEqual({ threshold: 0.8, action: 'accept' });
  });

  it('and are below the revert floor that their publisher signed, refuses them', async () => {
    const floored = parameters('1.3.0', { revertFloor: Version('1.1.0') });
    bench.server.add(floored);
    await bench.order(order(first));
    await bench.order(order(floored));
    const downgrade = {
      from: floored.release,
      to: first.release,
      reason: 'worse',
      cohort: 'canary',
      expiresAt: Date.UTC(2027, 0, 1),
    };
    await bench.order(order(first, { downgrade }));
    expect(bench.refusals.at(-1)).toMatchObject({ error: { code: 'DEPLOYMENT_BELOW_REVERT_FLOOR' } });
  });

  it('and nobody serves parameters here, refuses them and says so', async () => {
    await bench.restart({ parameters: undefined });
    expect(bench.updater.kindsTaken()).toEqual(['model', 'trial']);
    await bench.order(order(first));
    expect(state()?.lastOutcome).toMatchObject({ outcome: 'fell-back', error: { code: 'PARAMETERS_NOT_SERVED' } });
    await bench.restart();
    expect(bench.updater.kindsTaken()).toEqual(['model', 'parameters', 'trial']);
  });
});

describe('when what arrives is not what publishers signed', () => {
  it('refuses values that were changed on the way', async () => {
    const forged = Buffer.from(Buffer.from(first.manifestBytes).toString('utf8').replace('0.8', '0.1'));
    bench.server.replace(first.release.digest, forged);
    await bench.order(order(first));
    expect(state()?.lastOutcome).toMatchObject({ outcome: 'refused', error: { code: 'RELEASE_DIGEST_MISMATCH' } });
    expect(inForce()).toBeUndefined();
    expect(existsSync(file())).toBe(false);
  });

  it('refuses values that nobody listed', async () => {
    const unlisted = parameters('1.9.0');
    bench.server.serve(unlisted);
    await bench.order(order(unlisted));
    expect(state()?.lastOutcome).toMatchObject({ outcome: 'refused', error: { code: 'RELEASE_NOT_LISTED' } });
  });

  it('refuses values beyond the bounds that they were signed with, though they are listed', async () => {
    const text = Buffer.from(first.manifestBytes).toString('utf8').replace('"version":"1.0.0"', '"version":"1.4.0"');
    const manifestBytes = Buffer.from(text.replace('"threshold":0.8', '"threshold":8'));
    const release = { version: Version('1.4.0'), digest: digestOf(manifestBytes) };
    bench.server.add({ ...first, release, manifestBytes });
    await bench.order(order({ release }));
    expect(state()?.lastOutcome).toMatchObject({ outcome: 'refused', error: { code: 'MANIFEST_INVALID' } });
    expect(state()?.lastOutcome?.error?.what).toContain('hall/threshold must be at most 1');
  });

  it('refuses the parameters of another model under the name of this one', async () => {
    const other = parameters('1.5.0');
    const manifestBytes = Buffer.from(
      Buffer.from(other.manifestBytes).toString('utf8').replace(line, 'other--parameters'),
    );
    const release = { version: Version('1.5.0'), digest: digestOf(manifestBytes) };
    bench.server.add({ ...other, release, manifestBytes });
    await bench.order(order({ release }));
    expect(state()?.lastOutcome).toMatchObject({ outcome: 'refused', error: { code: 'RELEASE_NOT_AS_ORDERED' } });
  });
});

describe('when the values are bad', () => {
  it('and an application refuses them on probation, goes back to those before', async () => {
    await bench.order(order(first));
    await bench.updater.receive(signed(order(second, { probation: longProbation })));
    await untilState('probation');
    expect(given()).toEqual({ threshold: 0.9, action: 'accept' });
    bench.parameters.reject(model, { digest: second.release.digest, reason: 'the camera has no such gain' });
    await bench.settled();
    expect(state()?.lastOutcome).toMatchObject({
      outcome: 'fell-back',
      error: { code: 'PARAMETERS_REJECTED', what: expect.stringContaining('no such gain') as string },
    });
    expect(given()).toEqual({ threshold: 0.8, action: 'accept' });
    expect(fileContent()).toMatchObject({ version: '1.0.0' });
  });

  it('and requests to their model begin to fail, goes back; failures from before do not count', async () => {
    await bench.order(order(first));
    let failures = 900;
    bench.serving.faults.health = () => ({ requests: 1000 + 2 * (failures - 900), failures, crashes: 0 });
    await bench.order(order(second, { probation: { ...quickProbation, minRequests: 0 } }));
    expect(state()?.lastOutcome).toMatchObject({ outcome: 'committed' });
    await bench.updater.receive(signed(order(third, { probation: longProbation })));
    await untilState('probation');
    failures += 100;
    await bench.settled();
    expect(state()?.lastOutcome).toMatchObject({ outcome: 'fell-back', error: { code: 'PROBATION_FAILURES' } });
    expect(given()).toEqual({ threshold: 0.9, action: 'accept' });
  });

  it('and there were none before, applications get none again', async () => {
    await bench.updater.receive(signed(order(first, { probation: longProbation })));
    await untilState('probation');
    bench.parameters.reject(model, { digest: first.release.digest, reason: 'no' });
    await bench.settled();
    expect(inForce()).toBeUndefined();
    expect(existsSync(file())).toBe(false);
    expect(bench.parameters.given).toEqual(['1.0.0', 'none']);
  });
});

describe('when the model is none that they are for', () => {
  it('refuses them', async () => {
    await bench.order(orderFor(nextMajor));
    await bench.order(order(first));
    expect(state()?.lastOutcome).toMatchObject({ outcome: 'fell-back', error: { code: 'PARAMETERS_INCOMPATIBLE' } });
    expect(state()?.lastOutcome?.error?.what).toContain('2.0.0');
  });

  it('because it was never ordered, refuses them', async () => {
    await bench.close();
    await open();
    await bench.order(order(first));
    expect(state()?.lastOutcome).toMatchObject({ error: { code: 'PARAMETERS_INCOMPATIBLE' } });
  });

  it('any more, nobody is given them, the operator hears of it, and they come back with the model', async () => {
    await bench.order(order(first));
    const failing = (version: string) => version === '2.0.0';
    bench.serving.faults.health = ({ release }) => ({
      requests: 50,
      failures: 0,
      crashes: failing(release.version) && inForce() === undefined && !existsSync(file()) ? 9 : 0,
    });
    await bench.order(orderFor(nextMajor));
    // The candidate ran without parameters, and fell back for its crashes.
    expect(served(bench)).toBe('1.0.0');
    expect(bench.incidents).toEqual([
      expect.objectContaining({ error: expect.objectContaining({ code: 'PARAMETERS_DORMANT' }) as unknown }),
    ]);
    expect(given()).toEqual({ threshold: 0.8, action: 'accept' });
    expect(fileContent()).toMatchObject({ version: '1.0.0' });
    expect(state()?.running?.release).toEqual(first.release);
  });

  it('any more and stays so, they stay committed, are not in force, and others take their place', async () => {
    await bench.order(order(first));
    await bench.order(orderFor(nextMajor));
    expect(state()?.running).toBeUndefined();
    expect(existsSync(file())).toBe(false);
    await bench.restart();
    expect(state()?.running).toBeUndefined();
    expect(existsSync(file())).toBe(false);
    const wider = parameters('1.6.0', { compatible: '>=1.0.0 <3.0.0' });
    bench.server.add(wider);
    await bench.order(order(wider));
    expect(state()?.running?.release).toEqual(wider.release);
  });

  it('any more in the middle of their probation, they are taken back', async () => {
    await bench.updater.receive(signed(order(first, { probation: longProbation })));
    await untilState('probation');
    await bench.order(orderFor(nextMajor));
    expect(state()?.lastOutcome).toMatchObject({ outcome: 'fell-back', error: { code: 'PARAMETERS_INCOMPATIBLE' } });
  });
});

describe('when the model is being updated', () => {
  it('and hangs in its self-test, parameters are not held up, and neither is the next model', async () => {
    bench.serving.faults.selfTest = ({ release }, signal) =>
      release.version === '1.1.0'
        ? new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
        : Promise.resolve();
    await bench.updater.receive(signed(orderFor(secondModel)));
    while (bench.updater.state().find((each) => each.model === model)?.update.state !== 'self-testing')
      await nextMacrotask();
    await bench.updater.receive(signed(order(first)));
    while (state()?.lastOutcome === undefined) await nextMacrotask();
    expect(state()).toMatchObject({ running: { release: first.release }, lastOutcome: { outcome: 'committed' } });
    expect(served(bench)).toBe('1.0.0');
    bench.serving.faults.selfTest = () => Promise.resolve();
    await bench.order(orderFor(nextMajor));
    expect(served(bench)).toBe('2.0.0');
  });

  it('within their range, they stay in force through it', async () => {
    await bench.order(order(first));
    await bench.order(orderFor(secondModel));
    expect(served(bench)).toBe('1.1.0');
    expect(state()?.running?.release).toEqual(first.release);
    expect(fileContent()).toMatchObject({ version: '1.0.0' });
    expect(bench.incidents).toEqual([]);
  });

  it('and parameters hang, a newer order of them is begun at once', async () => {
    let hangs = true;
    bench.parameters.fault = () => (hangs ? new Promise(() => undefined) : Promise.resolve());
    await bench.updater.receive(signed(order(first)));
    await untilState('activating');
    hangs = false;
    await bench.updater.receive(signed(order(second)));
    await bench.settled();
    expect(state()).toMatchObject({ running: { release: second.release } });
  });
});

describe('the file', () => {
  it('when somebody has changed or removed it, is whole again after a start', async () => {
    await bench.order(order(first));
    writeFileSync(file(), '{"values":{"threshold":0}}');
    await bench.restart();
    expect(fileContent()).toMatchObject({ values: { threshold: 0.8 } });
    rmSync(file());
    await bench.restart();
    expect(fileContent()).toMatchObject({ values: { threshold: 0.8 } });
  });

  it('when the device knows of no parameters for it any more, goes', async () => {
    await bench.order(order(first));
    await bench.updater.close();
    for (const name of ['journal.db', 'journal-mirror.json']) rmSync(join(bench.dataDir, name));
    await bench.boot();
    await bench.updater.resume();
    expect(existsSync(file())).toBe(false);
  });
});
