import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AttachedServing, AttachedServingOptions } from '../../src/attach/index.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { childrenOf } from '../cli/device.js';
import { FEATURES, installClassifier } from '../serve/installed-classifier.js';
import { until } from '../supervisor/agent-bench.js';
import { attachedDevice, type Application, type AttachedDevice } from './attached-device.js';
import { binaryMessage } from './binary-message.js';
import { observeClient, type ObserveClient } from './observe-client.js';

const { signal } = new AbortController();
const MIB = 1024 ** 2;
const ROW = Array.from({ length: FEATURES }, (_, index) => index);
const inference = (id: string) => ({ type: 'inference', id, latencyUs: 1, features: [ROW] });

/** The sum of the numbers before these words in what was answered. */
const told = ({ answers }: ObserveClient, words: string): number =>
  answers.reduce((sum, { error = '' }) => sum + Number(new RegExp(`(\\d+) ${words}`).exec(error)?.[1] ?? 0), 0);

describe('when somebody abuses the observe socket', { timeout: 60_000 }, () => {
  let device: AttachedDevice;
  let first: InstalledModel;
  let serving: AttachedServing;
  let application: Application;
  beforeEach(async () => {
    device = attachedDevice();
    first = await installClassifier({ directory: join(device.folder, 'first') });
  });
  afterEach(() => device.close());

  const open = async (change: Partial<AttachedServingOptions> = {}) => {
    serving = await device.open(undefined, change);
    application = await device.start();
    await serving.activate(first, signal, 'keep');
  };
  const connected = () => observeClient(device.socket, { loaded: first.loaded });
  const observeProcess = (): number => {
    const [pid = 0] = childrenOf(process.pid).filter((each) =>
      readFileSync(`/proc/${each}/cmdline`, 'utf8').includes('observe-main'),
    );
    return pid;
  };
  const peakMiB = (pid: number): number =>
    Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
  const recordedOf = (prefix: string) =>
    device.recorder.records.filter(({ requestId }) => requestId.startsWith(prefix));
  const applicationGoesOn = async () => {
    const before = recordedOf('request-').length;
    application.observe(1);
    await until(() => recordedOf('request-').length > before);
    expect(serving.running(first.model)?.release.version).toBe('1.0.0');
    expect(device.codes()).not.toContain('OBSERVE_PROCESS_DIED');
  };
  /** Writes as fast as the agent takes it, until told to stop; resolves with how often. */
  const flood = (client: ObserveClient, next: (index: number) => Buffer, isEnough: () => boolean): Promise<number> =>
    (async () => {
      let sent = 0;
      for (; !isEnough(); sent++) if (!client.socket.write(next(sent))) await once(client.socket, 'drain');
      return sent;
    })();
  const farewell = async (client: ObserveClient) => {
    client.say({ type: 'bye' });
    await until(() => client.answers.some(({ type }) => type === 'bye'));
  };

  it('and sends faster than is taken, each observation is taken or told as dropped, and others go on', async () => {
    await open({ maxObservationsPerSecond: 200 });
    const [flooding, other] = [await connected(), await connected()];
    let isOver = false;
    const sent = flood(
      flooding,
      (index) => Buffer.from(`${JSON.stringify(inference(`flood-${index}`))}\n`),
      () => isOver,
    );
    let asked = 0;
    await until(() => {
      asked += 1;
      other.say({ type: 'label', id: `other-${asked}`, labels: [1] });
      return other.answers.filter(({ type }) => type === 'labelled').length >= 10;
    });
    isOver = true;
    const count = await sent;
    await farewell(flooding);
    expect(told(flooding, 'observations were not taken')).toBeGreaterThan(0);
    await until(() => recordedOf('flood-').length + told(flooding, 'observations were not taken') === count);
    // What was acknowledged is there.
    const labelled = other.answers.filter(({ type }) => type === 'labelled').map(({ id }) => id);
    expect(device.recorder.labels.map(({ requestId }) => requestId)).toEqual(expect.arrayContaining(labelled));
  });

  it('and sends rows by the megabyte, requests are counted, and rows are kept only as far as the supervisor can take them', async () => {
    await open();
    const rows = Math.floor((MIB - 500) / (FEATURES * 4));
    const payload = Buffer.alloc(rows * FEATURES * 4);
    const inputs = [{ name: 'features', datatype: 'FP32', shape: [rows, FEATURES] }];
    const message = (id: string) =>
      binaryMessage(JSON.stringify({ type: 'inference', id, latencyUs: 1, inputs }), payload);
    const startedMs = performance.now();
    const clients = [await connected(), await connected()];
    const floods = clients.map((client, index) => {
      let left = 100;
      return flood(
        client,
        (each) => message(`wide-${index}-${each}`),
        () => left-- === 0,
      );
    });
    await Promise.all(floods);
    for (const client of clients) await farewell(client);
    await until(() => recordedOf('wide-').length === 200);
    const elapsedS = (performance.now() - startedMs) / 1_000;
    const kept = recordedOf('wide-').filter(({ features }) => features);
    const bared = clients.reduce((sum, client) => sum + told(client, 'were counted without their rows'), 0);
    expect(kept.length + bared).toBe(200);
    expect(kept.length).toBeLessThanOrEqual(8 * (elapsedS + 1) + 1);
    expect(peakMiB(observeProcess())).toBeLessThan(300);
    await applicationGoesOn();
  });

  it('and never ends a line, the connection is ended with a reason, however much still comes', async () => {
    await open();
    const endless = await connected();
    let isClosed = false;
    void endless.closed.then(() => (isClosed = true));
    const chunk = Buffer.alloc(256 * 1024, ' ');
    endless.socket.write('{');
    const writing = setInterval(() => endless.socket.writable && endless.socket.write(chunk), 5);
    await endless.closed;
    clearInterval(writing);
    expect(isClosed).toBe(true);
    expect(endless.answers.map(({ type, code }) => code ?? type)).toEqual(['welcome', 'OBSERVE_TOO_LARGE']);
    await applicationGoesOn();
  });

  it.each([
    ['another protocol', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'OBSERVE_INVALID', true],
    ['bytes of no form', Buffer.from([0xff, 0x00, 0xfe]), 'OBSERVE_INVALID', true],
    ['a frame of four gigabytes', Buffer.from([1, 255, 255, 255, 255, 255, 255, 255, 255]), 'OBSERVE_TOO_LARGE', true],
    ['a line that is no JSON', Buffer.from('{"type":\n'), 'OBSERVE_INVALID', false],
    ['a frame that is no JSON', binaryMessage('\u0000{', Buffer.alloc(3)), 'OBSERVE_INVALID', false],
    ['JSON nested 300,000 deep', Buffer.from(`{"type":${'['.repeat(300_000)}\n`), 'OBSERVE_INVALID', false],
    ['an unknown type', Buffer.from('{"type":"constructor"}\n'), 'OBSERVE_INVALID', false],
    [
      'a tensor of more elements than there are atoms',
      binaryMessage(
        JSON.stringify({
          ...{ type: 'inference', latencyUs: 1 },
          inputs: [{ name: 'features', datatype: 'FP32', shape: Array.from({ length: 16 }, () => 2 ** 31 - 1) }],
        }),
        Buffer.alloc(64),
      ),
      'OBSERVE_INVALID',
      false,
    ],
  ])('and sends %s, that is said, and nobody else is touched', async (_, bytes, code, isEnd) => {
    await open();
    const client = await connected();
    client.socket.write(bytes);
    await until(() => client.answers.some((answer) => answer.code === code));
    if (isEnd) await client.closed;
    else await farewell(client);
    await applicationGoesOn();
  });

  it('and sends nonsense without end, some of it is explained, and what makes sense between it is taken', async () => {
    await open();
    const client = await connected();
    const nonsense = Buffer.from('{"type":"inference","latencyUs":"long"}\n'.repeat(2_000));
    for (let round = 0; round < 10; round++) {
      client.socket.write(nonsense);
      client.say(inference(`sense-${round}`));
    }
    await farewell(client);
    await until(() => recordedOf('sense-').length === 10);
    const errors = client.answers.filter(({ code }) => code === 'OBSERVE_INVALID');
    expect(errors[0]?.error).toContain('/latencyUs must be integer');
    expect(errors.length).toBeLessThan(10_000);
    await applicationGoesOn();
  });

  it('and opens connection after connection, those beyond are turned away, and there is room again when they close', async () => {
    await open();
    const crowd: ObserveClient[] = [];
    for (let count = 0; count < 60; count++) crowd.push(await observeClient(device.socket, {}));
    const turnedAway = () => crowd.filter(({ answers }) => answers.some(({ code }) => code === 'OBSERVE_CROWDED'));
    const welcome = () => crowd.filter(({ answers }) => answers.some(({ type }) => type === 'welcome'));
    await until(() => turnedAway().length + welcome().length === 60);
    // The application has one of the places.
    expect(welcome().length).toBeLessThanOrEqual(31);
    await Promise.all(turnedAway().map(({ closed }) => closed));
    await applicationGoesOn();
    for (const client of crowd) client.socket.destroy();
    await until(async () => {
      const late = await observeClient(device.socket, {});
      await until(() => late.answers.length > 0);
      return late.answers[0]?.type === 'welcome';
    });
  });

  it('and reads no answers, it gets no more beyond a bound, and every label that was acknowledged is kept', async () => {
    await open();
    const mute = await connected();
    await until(() => mute.answers.length > 0);
    mute.socket.pause();
    const labels = 6_000;
    for (let index = 0; index < labels; index++) mute.say({ type: 'label', id: `mute-${index}`, labels: [1] });
    await until(() => device.recorder.labels.length > 2_000);
    await applicationGoesOn();
    expect(peakMiB(observeProcess())).toBeLessThan(300);
    mute.socket.resume();
    mute.say({ type: 'bye' });
    await mute.closed;
    const acknowledged = mute.answers.filter(({ type }) => type === 'labelled').map(({ id }) => id);
    expect(acknowledged.length).toBeGreaterThan(0);
    const kept = new Set(device.recorder.labels.map(({ requestId }) => requestId));
    expect(acknowledged.filter((id) => id === undefined || !kept.has(id))).toEqual([]);
  });

  it('and says without end that it loaded something else, one incident tells of it, and its last word decides', async () => {
    await open();
    const fickle = await connected();
    await until(() => fickle.answers.length > 0);
    const other = (index: number) => `sha256:${String(index).padStart(64, '0')}`;
    for (let index = 0; index < 20_000; index++) fickle.say({ type: 'loaded', digest: other(index) });
    await until(() => serving.running(first.model) === undefined);
    fickle.say({ type: 'loaded', digest: first.loaded });
    await until(() => serving.running(first.model)?.release.version === '1.0.0');
    expect(device.codes().filter((code) => code === 'ATTACH_OTHER_MODEL').length).toBeLessThanOrEqual(1);
    await farewell(fickle);
    await applicationGoesOn();
  });
});
