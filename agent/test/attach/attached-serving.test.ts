import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AttachedServing } from '../../src/attach/index.js';
import { systemClock } from '../../src/host/index.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { childrenOf } from '../cli/device.js';
import { installClassifier } from '../serve/installed-classifier.js';
import { until } from '../supervisor/agent-bench.js';
import { attachedDevice, type AttachedDevice } from './attached-device.js';
import { observeClient } from './observe-client.js';

const signal = new AbortController().signal;
const HANG_UP = ({ pidFile }: AttachedDevice) => ({ signal: 'SIGHUP', pidFile });

describe('an attached application', () => {
  let device: AttachedDevice;
  let first: InstalledModel;
  let second: InstalledModel;
  beforeEach(async () => {
    device = attachedDevice();
    first = await installClassifier({ directory: join(device.folder, 'first') });
    second = await installClassifier({ directory: join(device.folder, 'second'), seed: 2, version: '1.1.0' });
  });
  afterEach(() => device.close());

  const script = (name: string, text: string): string => {
    const file = join(device.folder, name);
    writeFileSync(file, `#!/bin/sh\n${text}\n`);
    chmodSync(file, 0o755);
    return file;
  };
  const running = (serving: AttachedServing) => serving.running(first.model)?.release.version;
  const health = (serving: AttachedServing) => serving.health(first.model);
  /** The first release is what the application runs. */
  const attached = async (settings?: object) => {
    const serving = await device.open(settings);
    const application = await device.start();
    await serving.activate(first, signal, 'keep');
    return { serving, application };
  };

  it('when a release is activated, the application loads it at its hook, and its word decides that it runs', async () => {
    const { serving, application } = await attached();
    expect(running(serving)).toBe('1.0.0');
    await expect(serving.activate(second, signal, 'keep')).resolves.toEqual({
      release: second.release,
      loaded: second.loaded,
      provider: { requested: [], actual: 'test runtime' },
    });
    expect(running(serving)).toBe('1.1.0');
    await until(() => application.lines.includes(`loaded ${second.loaded}`));
    expect(device.linkedDigest()).toBe(second.loaded);
  });

  it('when it does not say that it loaded it, the activation fails, and on the way back it runs what it ran', async () => {
    const { serving, application } = await attached({ reload: HANG_UP(device), loadTimeoutMs: 2_000 });
    await application.end('SIGTERM');
    await device.start('deaf');
    await until(() => running(serving) === '1.0.0');
    await expect(serving.activate(second, signal, 'keep')).rejects.toMatchObject({ code: 'ATTACH_NOT_LOADED' });
    expect(running(serving)).toBe('1.0.0');
    await serving.activate(first, signal, 'close');
    expect(device.linkedDigest()).toBe(first.loaded);
    expect(running(serving)).toBe('1.0.0');
  });

  it('when it refuses a release, the activation fails at once, with its reason', async () => {
    const serving = await device.open();
    await device.start('stubborn');
    await serving.activate(first, signal, 'keep');
    await expect(serving.activate(second, signal, 'keep')).rejects.toMatchObject({
      code: 'ATTACH_LOAD_REFUSED',
      message: expect.stringContaining('no kernel for its third layer') as string,
    });
    await expect(serving.activate(first, signal, 'close')).resolves.toMatchObject({ loaded: first.loaded });
    expect(running(serving)).toBe('1.0.0');
  });

  it('when the hook fails or hangs, the activation fails, and the hook knows what it was for', async () => {
    const told = join(device.folder, 'told');
    const fails = script('fails', `env | grep ^DROVER | sort > ${told}; echo "unit not found" >&2; exit 5`);
    const serving = await device.open({ reload: { command: [fails] } });
    await expect(serving.activate(first, signal, 'keep')).rejects.toMatchObject({
      code: 'ATTACH_RELOAD_FAILED',
      message: expect.stringContaining('unit not found') as string,
    });
    expect(readFileSync(told, 'utf8').trim().split('\n')).toEqual([
      `DROVER_DIGEST=${first.loaded}`,
      'DROVER_MODEL=classifier',
      `DROVER_PATH=${device.path}`,
      'DROVER_VERSION=1.0.0',
    ]);
    const hangs = script('hangs', 'sleep 60 & wait');
    const hanging = await device.open(
      { reload: { command: [hangs], timeoutMs: 200 } },
      { socket: `${device.socket}2` },
    );
    await expect(hanging.activate(second, signal, 'keep')).rejects.toMatchObject({ code: 'ATTACH_RELOAD_FAILED' });
  });

  it('when it observes, the release that it has loaded gets the credit, and labels follow', async () => {
    const { serving, application } = await attached();
    application.observe(2);
    application.observe(4);
    await until(() => health(serving).requests === 2);
    expect(health(serving)).toMatchObject({ failures: 0, crashes: 0 });
    const [record] = device.recorder.records;
    expect(record).toMatchObject({
      model: 'classifier',
      release: first.release,
      requestId: 'request-1',
      latencyUs: 2_000,
      failed: false,
      inferences: 1,
    });
    expect(Array.from(record?.features?.values ?? [])).toEqual([1, 2, 3, 4]);
    expect(Array.from(record?.predictions?.classes ?? [])).toEqual([1]);
  });

  it.each(['record', 'reject'] as const)(
    'when its release has a contract to %s inputs, rows that break it are counted, and what was run stays run',
    async (action) => {
      const heavy = { rule: 'range', column: 'load', max: 3 } as const;
      const mostlyLight = { rule: 'range', column: 'heat', max: 0, mostly: 0.5 } as const;
      const features = ['heat', 'flow', 'tilt', 'load'];
      const inputs = [{ name: 'features', features, rules: [heavy, mostlyLight] }];
      const parity = { absolute: 1e-5, relative: 1e-5 };
      const contract = { perHardwareClass: [], parity, inputs: { action, windowRows: 3, inputs } };
      first = await installClassifier({ directory: join(device.folder, action), manifest: { contract } });
      const { serving, application } = await attached();
      for (let request = 0; request < 2; request++) application.observe(1);
      await until(() => health(serving).requests === 2);
      // The release that is committed is the one that was tried: its window goes on.
      await serving.dropKept(first.model);
      application.observe(1);
      await until(() => health(serving).requests === 3);
      const counted = device.recorder.inputCounts;
      expect(counted.reduce((sum, { rows }) => sum + rows, 0)).toBe(3);
      for (const counts of counted) expect(counts).toMatchObject({ release: first.release, refusedRequests: 0 });
      const violations = counted.flatMap((each) => each.violations);
      const rowsOf = (rule: number) =>
        violations.filter((each) => each.rule === rule).reduce((sum, { rows }) => sum + rows, 0);
      expect([rowsOf(0), rowsOf(1)]).toEqual([3, 3]);
      expect(violations.filter(({ windows }) => windows > 0)).toMatchObject([
        { rule: 1, feature: 'heat', windows: 1, windowsBelow: 1, share: 0, isBelow: true },
      ]);
      expect(device.recorder.records.map(({ failed, features: rows }) => [failed, rows?.count])).toEqual(
        Array.from({ length: 3 }, () => [false, 1]),
      );
    },
  );

  it('when it is killed, that is a crash, and nothing counts as running until it is back', async () => {
    const { serving, application } = await attached();
    await application.end('SIGKILL');
    await until(() => health(serving).crashes === 1);
    expect(running(serving)).toBeUndefined();
    expect(device.codes()).toEqual(['ATTACH_APPLICATION_LOST']);
    await device.start();
    await until(() => running(serving) === '1.0.0');
  });

  it('when the agent is started again, link and application are found as they are', async () => {
    const { serving, application } = await attached();
    const loads = () => application.lines.filter((line) => line.startsWith('loaded')).length;
    const before = await until(() => loads() > 0 && loads());
    await serving.close();
    const again = await device.open();
    await again.activate(first, signal, 'close');
    await until(() => running(again) === '1.0.0');
    await expect(again.activate(first, signal, 'keep')).resolves.toMatchObject({ loaded: first.loaded });
    expect(loads()).toBe(before);
    expect(device.codes()).toEqual([]);
  });

  it('when the agent was cut off between link and hook, the application is told when it comes', async () => {
    const { serving } = await attached();
    await serving.close();
    const cut = await device.open({ loadTimeoutMs: 100 });
    await expect(cut.activate(second, signal, 'keep')).rejects.toMatchObject({ code: 'ATTACH_NOT_LOADED' });
    await cut.close();
    const again = await device.open();
    await again.activate(second, signal, 'close');
    await until(() => running(again) === '1.1.0');
  });

  it('when it goes on saying that it runs something else, one incident a minute tells of it', async () => {
    let laterMs = 0;
    const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + laterMs };
    const serving = await device.open(undefined, { clock });
    await device.start();
    await serving.activate(first, signal, 'keep');
    const told = () => device.codes().filter((code) => code === 'ATTACH_OTHER_MODEL').length;
    const other = { type: 'loaded', digest: second.loaded };
    const stubborn = await observeClient(device.socket, { loaded: second.loaded });
    await until(() => serving.running(first.model) === undefined);
    stubborn.say(other);
    await until(() => told() === 1);
    stubborn.say(other);
    stubborn.say({ type: 'bye' });
    await until(() => running(serving) === '1.0.0');
    expect(told()).toBe(1);
    laterMs = 60_000;
    await observeClient(device.socket, { loaded: second.loaded });
    await until(() => told() === 2);
  });

  it('when nothing is to run any more, the link goes', async () => {
    const { serving } = await attached();
    await serving.deactivate(first.model);
    expect(running(serving)).toBeUndefined();
    expect(() => device.linkedDigest()).toThrow('ENOENT');
  });

  it('when the observe process is killed, it comes again, the application connects again, and no crash is counted', async () => {
    const { serving } = await attached();
    const [pid] = childrenOf(process.pid).filter((each) => {
      return readFileSync(`/proc/${each}/cmdline`, 'utf8').includes('observe-main');
    });
    process.kill(pid ?? 0, 'SIGKILL');
    await until(() => device.codes().includes('OBSERVE_PROCESS_DIED'));
    await until(() => running(serving) === '1.0.0');
    expect(health(serving).crashes).toBe(0);
  });

  it('when only its health check speaks for it, what that says decides, and failing ones are a crash', async () => {
    let loaded: string | undefined = first.loaded;
    const server = createServer((_request, response) => {
      if (loaded === undefined) response.writeHead(503).end();
      else response.end(JSON.stringify({ loaded }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    try {
      const serving = await device.open({
        health: { http: `http://127.0.0.1:${port}/health`, intervalMs: 100 },
        loadTimeoutMs: 400,
      });
      await serving.activate(first, signal, 'keep');
      expect(running(serving)).toBe('1.0.0');
      await expect(serving.activate(second, signal, 'keep')).rejects.toMatchObject({ code: 'ATTACH_NOT_LOADED' });
      loaded = second.loaded;
      await serving.activate(second, signal, 'keep');
      loaded = undefined;
      await until(() => health(serving).crashes === 1);
      expect(running(serving)).toBeUndefined();
      loaded = second.loaded;
      await until(() => running(serving) === '1.1.0');
      expect(device.codes()).toEqual(['ATTACH_UNHEALTHY']);
    } finally {
      server.close();
    }
  });

  it('when the self-test is a program of the application, it is given the candidate, and its word counts', async () => {
    const judge = script('judge', 'test -f "$DROVER_PATH/model.onnx" && test "$DROVER_VERSION" = 1.0.0');
    const serving = await device.open({ selfTest: { command: [judge] } });
    await expect(serving.selfTest(first, signal)).resolves.toEqual({ said: `tested by ${judge}` });
    await expect(serving.selfTest(second, signal)).rejects.toMatchObject({ code: 'ATTACH_SELF_TEST_FAILED' });
    expect(() => device.linkedDigest()).toThrow('ENOENT');
  });

  it('when the self-test is that of the agent, its runtime runs the golden vectors', async () => {
    const serving = await device.open();
    await expect(serving.selfTest(first, signal)).resolves.toMatchObject({ provider: { actual: 'cpu' } });
  });

  it('when a model has no application, or none is attached at all, that is said', async () => {
    const serving = await device.open();
    const other = { ...first, model: 'other' as typeof first.model };
    await expect(serving.activate(other, signal)).rejects.toMatchObject({ code: 'ATTACH_NOT_CONFIGURED' });
    await expect(device.open({}, { models: {} })).rejects.toMatchObject({ code: 'ATTACH_NOT_CONFIGURED' });
    const long = { socket: join(device.folder, 'x'.repeat(100)) };
    await expect(device.open({}, long)).rejects.toMatchObject({ code: 'OBSERVE_SOCKET_UNUSABLE' });
  });
});
