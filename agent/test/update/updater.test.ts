import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestOf, Version } from '@drover/shared/ids';
import { UpdateError } from '../../src/update/index.js';
import { modelState, nextMacrotask, openBench, served, type Bench } from './fixtures/bench.js';
import { directorKey, model, orderFor, publish, signed, strangerKey } from './fixtures/releases.js';
import { answering, cutAfter } from './fixtures/release-server.js';
import { modelWithExternalData } from '../serve/installed-classifier.js';

const first = publish('1.0.0');
const second = publish('1.1.0');
const third = publish('1.2.0');

let bench: Bench;
beforeEach(async () => {
  bench = await openBench([first, second, third]);
  await bench.updater.resume();
});
afterEach(() => bench.close());

describe('when a release is ordered', () => {
  it('goes through every state in turn and serves it', async () => {
    await bench.order(orderFor(first));
    expect(bench.transitions.map(({ to }) => to)).toEqual([
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
    expect(served(bench)).toBe('1.0.0');
    expect(modelState(bench)?.lastOutcome).toMatchObject({ outcome: 'committed', release: first.release });
    expect(bench.updater.active(model)?.modelFile).toMatch(/models\/plain\.onnx$/);
    expect(
      await readFile(join(bench.updater.active(model)?.directory ?? '', 'doc/labels-again.txt'), 'utf8'),
    ).toContain('labels');
  });

  it('serves it again after a restart, without asking the server', async () => {
    await bench.order(orderFor(first));
    bench.server.requests.length = 0;
    await bench.restart();
    expect(served(bench)).toBe('1.0.0');
    expect(bench.server.requests).toEqual([]);
  });

  it('keeps the release before it and removes the one before that', async () => {
    for (const release of [first, second, third]) await bench.order(orderFor(release));
    const kept = await readdir(join(bench.dataDir, 'releases'));
    expect(kept.sort()).toEqual([second, third].map(({ release }) => release.digest.slice(7)).sort());
    expect(await readdir(join(bench.dataDir, 'blobs'))).not.toContain(digestOf(first.modelBytes).slice(7));
    expect(await readdir(join(bench.dataDir, 'incoming'))).toEqual([]);
  });

  it('commits at once when it already serves', async () => {
    await bench.order(orderFor(first));
    await bench.order(orderFor(first));
    expect(bench.serving.activations).toEqual(['1.0.0']);
    expect(bench.transitions.slice(-3).map(({ to }) => to)).toEqual(['received', 'committing', 'idle']);
  });
});

describe('when an order must not be carried out', () => {
  const refusedWith = async (bytes: Buffer) => {
    await bench.updater.receive(bytes);
    return bench.refusals.at(-1)?.error.code;
  };

  it('refuses one that the director did not sign, and one that was changed', async () => {
    expect(await refusedWith(signed(orderFor(second), strangerKey))).toBe('SIGNATURE_BELOW_THRESHOLD');
    const envelope = JSON.parse(signed(orderFor(second)).toString()) as { payload: string };
    const payload = Buffer.from(envelope.payload, 'base64').toString().replace('"epoch":1', '"epoch":9');
    const changed = Buffer.from(JSON.stringify({ ...envelope, payload: Buffer.from(payload).toString('base64') }));
    expect(await refusedWith(changed)).toBe('SIGNATURE_INVALID');
    expect(bench.updater.state()).toEqual([]);
  });

  it('refuses the replay of an order that ended, also after a restart', async () => {
    const order = orderFor(first);
    await bench.order(order);
    expect(await refusedWith(signed(order))).toBe('DEPLOYMENT_REPLAYED');
    await bench.restart();
    expect(await refusedWith(signed(order))).toBe('DEPLOYMENT_REPLAYED');
    expect(bench.refusals.at(-1)?.deploymentId).toBe(order.deploymentId);
  });

  it('is not disturbed by the repeated delivery of the order in progress', async () => {
    const order = orderFor(first);
    await bench.updater.receive(signed(order));
    await bench.order(order);
    expect(bench.refusals).toEqual([]);
    expect(served(bench)).toBe('1.0.0');
  });

  it('refuses an expired order by the time of the last order when the clock is at 1970', async () => {
    await bench.order(orderFor(first));
    bench.clock.advance(-bench.clock.now());
    const expired = orderFor(second, { expiresAt: Date.UTC(2025, 11, 31) });
    expect(await refusedWith(signed(expired))).toBe('DEPLOYMENT_EXPIRED');
    await bench.order(orderFor(second));
    expect(served(bench)).toBe('1.1.0');
  });

  it('says at start that the clock is behind', async () => {
    bench.clock.advance(-bench.clock.now());
    await bench.restart();
    expect(bench.incidents.map(({ error }) => error.code)).toEqual(['HOST_CLOCK_BEHIND']);
  });
});

describe('when a release is not what it should be', () => {
  it('refuses files whose bytes were changed, and leaves nothing of them behind', async () => {
    const digest = digestOf(second.modelBytes);
    bench.server.replace(digest, Buffer.from(second.modelBytes).fill(0, 500, 501));
    await bench.order(orderFor(first));
    await bench.order(orderFor(second));
    expect(bench.refusals).toMatchObject([{ subject: 'release', error: { code: 'FETCH_DIGEST_MISMATCH' } }]);
    expect(await readdir(join(bench.dataDir, 'incoming'))).toEqual([]);
    expect(bench.serving.activations).toEqual(['1.0.0']);
  });

  it('refuses a manifest that is listed, and ordered, as another version than its own', async () => {
    const misnamed = { ...second, release: { ...second.release, version: Version('1.5.0') } };
    bench.server.add(misnamed);
    await bench.order(orderFor(misnamed));
    expect(modelState(bench)?.lastOutcome?.error?.code).toBe('RELEASE_NOT_AS_ORDERED');
    expect(served(bench)).toBeUndefined();
  });
});

describe('when the candidate turns out bad', () => {
  const bad = (fault: Bench['serving']['faults']) => {
    bench.serving.faults = fault;
  };
  const isSecond = ({ release }: { release: { version: string } }) => release.version === '1.1.0';
  const broken = new UpdateError('PROBATION_NOT_RUNNING', 'It does not load.', { remedy: 'Mend it.' });

  it.each([
    ['fails its self-test', { selfTest: () => Promise.reject(broken) }, 'PROBATION_NOT_RUNNING', ['1.0.0']],
    [
      'cannot be activated',
      {
        activate: (model: { release: { version: string } }) =>
          isSecond(model) ? Promise.reject(broken) : Promise.resolve(),
      },
      'PROBATION_NOT_RUNNING',
      ['1.0.0'],
    ],
    [
      'fails requests',
      { health: () => ({ requests: 20, failures: 3, crashes: 0 }) },
      'PROBATION_FAILURES',
      ['1.0.0', '1.1.0', '1.0.0'],
    ],
    [
      'crashes',
      { health: () => ({ requests: 0, failures: 0, crashes: 2 }) },
      'PROBATION_CRASHED',
      ['1.0.0', '1.1.0', '1.0.0'],
    ],
  ])('goes back without any network when it %s', async (_what, fault, code, activations) => {
    await bench.order(orderFor(first));
    bad(fault);
    let requestsAtFailure = -1;
    const transitionsBefore = bench.transitions.length;
    await bench.updater.receive(signed(orderFor(second)));
    await nextMacrotask();
    while (modelState(bench)?.update.state !== 'idle') {
      if (requestsAtFailure < 0 && bench.transitions.slice(transitionsBefore).some(({ to }) => to === 'staging')) {
        await bench.server.close();
        requestsAtFailure = bench.server.requests.length;
      }
      await nextMacrotask();
    }
    expect(served(bench)).toBe('1.0.0');
    expect(bench.serving.activations).toEqual(activations);
    expect(modelState(bench)?.lastOutcome).toMatchObject({ outcome: 'fell-back', error: { code } });
    expect(bench.transitions.slice(-3).map(({ to }) => to)).toEqual(['falling-back', 'cleaning-up', 'idle']);
  });

  it('goes back when it no longer passes its golden vectors at the end of probation', async () => {
    await bench.order(orderFor(first));
    let tests = 0;
    bad({ selfTest: () => ((tests += 1) === 2 ? Promise.reject(broken) : Promise.resolve()) });
    await bench.order(orderFor(second));
    expect(tests).toBe(2);
    expect(bench.serving.activations).toEqual(['1.0.0', '1.1.0', '1.0.0']);
    expect(modelState(bench)?.lastOutcome).toMatchObject({ outcome: 'fell-back' });
  });

  it('stops serving when the first release of a model fails', async () => {
    bad({ health: () => ({ requests: 20, failures: 20, crashes: 0 }) });
    await bench.order(orderFor(first));
    expect(served(bench)).toBeUndefined();
    expect(modelState(bench)?.lastOutcome?.outcome).toBe('fell-back');
  });

  it('gives a step that hangs and ignores its signal up at its deadline', async () => {
    await bench.order(orderFor(first));
    await bench.restart({ deadlinesMs: { 'self-testing': 20 } });
    bad({ selfTest: () => new Promise(() => undefined) });
    await bench.order(orderFor(second));
    expect(modelState(bench)?.lastOutcome?.error?.code).toBe('UPDATE_STEP_TIMEOUT');
    expect(served(bench)).toBe('1.0.0');
  });
});

describe('when a newer order arrives during an update', () => {
  it('takes it at once, falls back from the candidate in probation, and carries it out', async () => {
    await bench.order(orderFor(first));
    bench.serving.faults.health = ({ release }) => ({
      requests: release.version === '1.1.0' ? 0 : 100,
      failures: 0,
      crashes: 0,
    });
    const slow = orderFor(second, {
      probation: { minMs: 0, minRequests: 5, maxMs: 2e9, maxFailureShare: 0, maxCrashes: 1 },
    });
    await bench.updater.receive(signed(slow));
    while (modelState(bench)?.update.state !== 'probation') await nextMacrotask();
    const newer = orderFor(third);
    await bench.updater.receive(signed(newer));
    expect(modelState(bench)?.accepted).toEqual({ epoch: 1, counter: newer.counter });
    while (modelState(bench)?.lastOutcome?.deploymentId !== newer.deploymentId) await nextMacrotask();
    expect(bench.serving.activations).toEqual(['1.0.0', '1.1.0', '1.0.0', '1.2.0']);
    expect(bench.transitions.find(({ to }) => to === 'falling-back')?.error?.code).toBe('UPDATE_SUPERSEDED');
  });

  it('interrupts a fetch from a server that never ends', async () => {
    bench.server.fault = (request, response, body) => {
      if (!request.url?.includes(digestOf(second.modelBytes).slice(7))) return false;
      response.writeHead(200).write(body.subarray(0, 10));
      return true;
    };
    await bench.updater.receive(signed(orderFor(second)));
    while (!bench.server.requests.some((line) => line.includes(digestOf(second.modelBytes).slice(7))))
      await nextMacrotask();
    const newer = orderFor(third);
    await bench.updater.receive(signed(newer));
    while (modelState(bench)?.lastOutcome?.deploymentId !== newer.deploymentId) await nextMacrotask();
    expect(served(bench)).toBe('1.2.0');
  });
});

describe('when the director orders a way back', () => {
  const grant = (reason: string, expiresAt = Date.UTC(2026, 5, 1)) => ({
    from: second.release,
    to: first.release,
    reason,
    expiresAt,
    cohort: 'canary',
  });
  beforeEach(async () => {
    await bench.order(orderFor(first));
    await bench.order(orderFor(second));
  });

  it('refuses it without a grant and accepts it with one, from the disk', async () => {
    await bench.order(orderFor(first));
    expect(bench.refusals.at(-1)?.error.code).toBe('DEPLOYMENT_ROLLBACK_REFUSED');
    bench.server.requests.length = 0;
    await bench.order(orderFor(first, { downgrade: grant('worse in the field') }));
    expect(served(bench)).toBe('1.0.0');
    expect(bench.server.requests).toEqual([]);
  });

  it('goes all the way, though a newer order arrives on probation: never back to the release that was taken away', async () => {
    // The way back becomes healthy only once the newer order has been taken in.
    let requests = 0;
    bench.serving.faults.health = () => ({ requests, failures: 0, crashes: 0 });
    const probation = { minMs: 0, minRequests: 5, maxMs: 2e9, maxFailureShare: 0, maxCrashes: 1 };
    const back = orderFor(first, { downgrade: grant('worse in the field'), probation });
    await bench.updater.receive(signed(back));
    while (modelState(bench)?.update.state !== 'probation') await nextMacrotask();
    const newer = orderFor(third);
    await bench.updater.receive(signed(newer));
    expect(modelState(bench)?.accepted).toEqual({ epoch: 1, counter: newer.counter });
    requests = 100;
    while (modelState(bench)?.lastOutcome?.deploymentId !== newer.deploymentId) await nextMacrotask();
    expect(bench.serving.activations).toEqual(['1.0.0', '1.1.0', '1.0.0', '1.2.0']);
    expect(bench.transitions.some(({ error }) => error?.code === 'UPDATE_SUPERSEDED')).toBe(false);
  });
});

describe('when a device adapted its model', () => {
  const adapted = Buffer.from('fine-tuned weights');
  const adapt = async (bytes = adapted, digest = digestOf(adapted)) => {
    const modelFile = join(bench.dataDir, 'tuned.onnx');
    await writeFile(modelFile, bytes);
    await bench.updater.activateAdaptation({ model, modelFile, digest });
  };

  it('serves the adaptation, also after a restart, until the next release is committed', async () => {
    await bench.order(orderFor(first));
    await adapt();
    expect(modelState(bench)?.running).toMatchObject({ loaded: digestOf(adapted), adaptation: digestOf(adapted) });
    await bench.restart();
    expect(bench.serving.activations).toEqual(['1.0.0+adapted']);
    await bench.order(orderFor(second));
    await bench.restart();
    expect(bench.serving.activations).toEqual(['1.1.0']);
    expect(await readdir(join(bench.dataDir, 'adaptations'))).toEqual([]);
  });

  it('goes back to the adaptation when an update fails', async () => {
    await bench.order(orderFor(first));
    await adapt();
    bench.serving.faults.health = () => ({ requests: 20, failures: 20, crashes: 0 });
    await bench.order(orderFor(second));
    expect(bench.serving.activations).toEqual(['1.0.0', '1.0.0+adapted', '1.1.0', '1.0.0+adapted']);
  });

  it('returns to the release when it is dropped or when its order is repeated', async () => {
    await bench.order(orderFor(first));
    await adapt();
    await bench.updater.dropAdaptation(model);
    expect(modelState(bench)?.running?.adaptation).toBeUndefined();
    await adapt();
    await bench.order(orderFor(first));
    expect(bench.serving.activations.at(-1)).toBe('1.0.0');
  });

  it('refuses one without a base, with other bytes, or that cannot be loaded, and goes on serving', async () => {
    await expect(adapt()).rejects.toMatchObject({ code: 'ADAPTATION_NOT_POSSIBLE' });
    await bench.order(orderFor(first));
    await expect(adapt(Buffer.from('other bytes'))).rejects.toMatchObject({ code: 'ADAPTATION_DAMAGED' });
    bench.serving.faults.activate = ({ adaptation }) =>
      adaptation ? Promise.reject(new Error('no model')) : Promise.resolve();
    await expect(adapt()).rejects.toThrow('no model');
    expect(modelState(bench)?.running?.adaptation).toBeUndefined();
    expect(served(bench)).toBe('1.0.0');
  });
});

describe('when the network or the disk fails', () => {
  it('goes on where the download broke off, also after a restart', async () => {
    const hex = digestOf(first.modelBytes).slice(7);
    const isModel = (line: string | undefined) => line?.includes(hex) ?? false;
    let isCut = false;
    bench.server.fault = (request, response, body) => {
      if (!isModel(request.url)) return false;
      const answer = isCut ? answering(() => response.writeHead(503).end()) : cutAfter(40_000);
      isCut = true;
      return answer(request, response, body);
    };
    await bench.updater.receive(signed(orderFor(first)));
    while (!bench.server.requests.some((line) => line.includes('bytes='))) await nextMacrotask();
    await bench.updater.close();
    bench.server.fault = undefined;
    bench.server.requests.length = 0;
    await bench.boot();
    await bench.updater.resume();
    await bench.settled();
    expect(bench.server.requests.filter(isModel)).toEqual([`/api/v1/device/blobs/${hex} bytes=40000-`]);
    expect(served(bench)).toBe('1.0.0');
  });

  it('says how much space is missing, and takes the order again later', async () => {
    await bench.order(orderFor(first));
    await bench.restart({ diskFreeBytes: () => Promise.resolve(1024 ** 2) });
    await bench.order(orderFor(second));
    const { error } = modelState(bench)?.lastOutcome ?? {};
    expect(error).toMatchObject({
      code: 'UPDATE_DISK_FULL',
      what: expect.stringMatching(/needs 17 MiB; 1 MiB are free/) as string,
    });
    expect(served(bench)).toBe('1.0.0');
    await bench.restart();
    await bench.order(orderFor(second));
    expect(served(bench)).toBe('1.1.0');
  });

  it('gives up when the server stays away for longer than allowed', async () => {
    await bench.order(orderFor(first));
    await bench.server.close();
    await bench.order(orderFor(second));
    expect(modelState(bench)?.lastOutcome).toMatchObject({
      outcome: 'fell-back',
      error: { code: 'FETCH_UNREACHABLE' },
    });
  });
});

describe('when files of the device are damaged', () => {
  it('rebuilds the journal without losing the running release or the protection against replay', async () => {
    const order = orderFor(first);
    await bench.order(order);
    await bench.updater.close();
    await writeFile(
      join(bench.dataDir, 'journal.db'),
      'this is no database, and long enough to be read as one'.repeat(100),
    );
    await bench.boot();
    await bench.updater.resume();
    expect(bench.incidents.map(({ error }) => error.code)).toEqual(['DATABASE_REBUILT']);
    expect(served(bench)).toBe('1.0.0');
    await bench.updater.receive(signed(order, directorKey));
    expect(bench.refusals.at(-1)?.error.code).toBe('DEPLOYMENT_REPLAYED');
  });

  it('serves the release before it when the committed one is gone, and says so', async () => {
    await bench.order(orderFor(first));
    await bench.order(orderFor(second));
    const file = bench.updater.active(model)?.modelFile ?? '';
    await bench.updater.close();
    await writeFile(file, 'short');
    await bench.boot();
    await bench.updater.resume();
    expect(served(bench)).toBe('1.0.0');
    expect(bench.incidents.map(({ error }) => error.code)).toEqual(['UPDATE_FALLBACK_FAILED']);
  });
});

describe('when the device stops again and again during the same update', () => {
  it('gives the candidate up after the third unclean stop', async () => {
    await bench.order(orderFor(first));
    const forever = { minMs: 6e8, minRequests: 0, maxMs: 2e9, maxFailureShare: 0, maxCrashes: 1 };
    let isDown = false;
    const power = () => {
      if (isDown) throw new Error('power cut');
    };
    await bench.restart({ killPoint: power });
    await bench.updater.receive(signed(orderFor(second, { probation: forever })));
    for (let stops = 0; stops < 3; stops += 1) {
      while (modelState(bench)?.update.state !== 'probation') await nextMacrotask();
      isDown = true;
      await expect(bench.updater.receive(signed(orderFor(third)))).rejects.toThrow('power cut');
      await bench.updater.close();
      isDown = false;
      await bench.boot({ killPoint: power });
      await bench.updater.resume();
    }
    await bench.settled();
    expect(modelState(bench)?.lastOutcome?.error?.code).toBe('UPDATE_REBOOT_LOOP');
    expect(served(bench)).toBe('1.0.0');
  });

  it('does not count orderly stops', async () => {
    await bench.order(orderFor(first));
    await bench.updater.receive(
      signed(
        orderFor(second, { probation: { minMs: 1e7, minRequests: 0, maxMs: 2e9, maxFailureShare: 0, maxCrashes: 1 } }),
      ),
    );
    for (let stops = 0; stops < 4; stops += 1) {
      while (modelState(bench)?.update.state !== 'probation') await nextMacrotask();
      await bench.restart();
    }
    await bench.settled();
    expect(served(bench)).toBe('1.1.0');
  });
});

describe('when a publisher signed a model that points to another file', () => {
  const foreign = publish('1.3.0', { contents: modelWithExternalData('../../../etc/passwd') });

  it('refuses it before it is staged, tells the operator, and serves on', async () => {
    await bench.close();
    bench = await openBench([first, foreign]);
    await bench.updater.resume();
    await bench.order(orderFor(first));
    await bench.order(orderFor(foreign));
    expect(served(bench)).toBe('1.0.0');
    expect(modelState(bench)?.lastOutcome).toMatchObject({
      outcome: 'refused',
      release: foreign.release,
      error: { code: 'ONNX_EXTERNAL_DATA', what: expect.stringContaining('outside of the folder') as unknown },
    });
    expect(bench.refusals).toMatchObject([{ subject: 'release', error: { code: 'ONNX_EXTERNAL_DATA' } }]);
    expect(bench.transitions.map(({ to }) => to).slice(-4)).toEqual([
      'verifying',
      'falling-back',
      'cleaning-up',
      'idle',
    ]);
    expect(await readdir(join(bench.dataDir, 'releases'))).toEqual([first.release.digest.slice(7)]);
  });
});
