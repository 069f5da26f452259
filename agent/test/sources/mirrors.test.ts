import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSourceChain, openMirror, type Mirror, type SourceError } from '../../src/sources/index.js';
import { httpReleaseSource } from '../../src/update/index.js';
import { openBench, served, type Bench } from '../update/fixtures/bench.js';
import { credential } from '../update/fixtures/release-server.js';
import { device, model, orderFor, publish } from '../update/fixtures/releases.js';
import { mirrorServer, type Answer, type MirrorServer } from './mirror-server.js';

const DAY_MS = 86_400_000;
const first = publish('1.0.0');
const second = publish('1.1.0');

let bench: Bench;
let server: MirrorServer;
let mirror: Mirror;
let failures: SourceError[];

beforeEach(async () => {
  bench = await openBench([first, second]);
  server = await mirrorServer(bench.server.url, `Basic ${Buffer.from(`${device}:${credential}`).toString('base64')}`);
  failures = [];
  await useMirror();
  bench.server.requests.length = 0;
});
afterEach(async () => {
  await bench.close();
  await server.close();
});

/** `graceMs`: what a mirror that does its best may take on a slow machine, unless the test waits for its end. */
async function useMirror(graceMs = 10_000): Promise<void> {
  mirror = openMirror({
    url: server.url,
    minBytesPerSecond: 1_000_000,
    graceMs,
    fetch,
    clock: bench.clock,
    onFailed: (error) => void failures.push(error),
  });
  const controlPlane = httpReleaseSource({ controlPlaneUrl: bench.server.url, deviceId: device, credential });
  await bench.restart({
    source: createSourceChain({ controlPlane, origins: () => [mirror], standIns: () => [mirror] }),
  });
}

/** What the operator is told of the fetching. */
const told = (): string => bench.transitions.filter(({ to }) => to === 'verifying').at(-1)?.reason ?? '';
const content = (): string[] => server.requests.map(({ path }) => path).filter((path) => !path.includes('/metadata/'));

describe('when a mirror of the site has what is ordered', () => {
  it('takes it from there, without showing it a credential, and says so', async () => {
    await bench.order(orderFor(first));
    expect(served(bench)).toBe('1.0.0');
    // What the mirror asked for on behalf of the device is all that reached the control plane.
    expect(bench.server.requests).toEqual(content());
    expect(content().length).toBeGreaterThan(3);
    expect(server.requests.every(({ authorization }) => authorization === undefined)).toBe(true);
    expect(told()).toMatch(new RegExp(`\\d+ bytes from mirror ${server.url}$`));
    expect(failures).toEqual([]);
  });

  it('asks the control plane alone for metadata', async () => {
    await bench.order(orderFor(first));
    expect(server.requests.filter(({ path }) => path.includes('/metadata/'))).toEqual([]);
  });
});

const answers: Record<string, { answer: Answer; code: string | undefined }> = {
  'swaps bytes': {
    answer: (_request, response, body) => response.writeHead(200).end(Buffer.alloc(body.length, 0x5a)),
    code: 'MIRROR_WRONG',
  },
  'never ends': {
    answer: (_request, response) => {
      response.writeHead(200);
      const pour = (): void => {
        if (!response.destroyed) response.write(Buffer.alloc(65_536, 1), () => setImmediate(pour));
      };
      pour();
    },
    code: 'MIRROR_WRONG',
  },
  'ends early': {
    answer: (_request, response, body) => response.writeHead(200).end(body.subarray(0, body.length / 2)),
    code: 'MIRROR_WRONG',
  },
  'breaks off': {
    answer: (_request, response, body) => {
      response.writeHead(200, { 'content-length': body.length });
      response.write(body.subarray(0, body.length / 2), () => response.destroy());
    },
    code: 'MIRROR_UNREACHABLE',
  },
  'is silent': { answer: () => undefined, code: 'MIRROR_SLOW' },
  drips: {
    answer: (_request, response) => {
      response.writeHead(200);
      const drip = setInterval(() => response.write('x'), 20);
      response.once('close', () => clearInterval(drip));
    },
    code: 'MIRROR_SLOW',
  },
  'lets nobody in': { answer: (_request, response) => response.writeHead(403).end(), code: 'MIRROR_REFUSED' },
  'does not have it': { answer: (_request, response) => response.writeHead(404).end(), code: undefined },
};

describe('when a mirror is of no use', () => {
  it.each(Object.entries(answers))('goes on with the control plane: it %s', async (_name, { answer, code }) => {
    server.answer = answer;
    if (code === 'MIRROR_SLOW') await useMirror(300);
    await bench.order(orderFor(first));
    expect(served(bench)).toBe('1.0.0');
    expect(bench.refusals).toEqual([]);
    expect(failures.map((each) => each.code)).toEqual(code === undefined ? [] : [code]);
    const passedOver = `bytes from control plane; mirror ${server.url} passed over (${code ?? ''})`;
    expect(told().endsWith(passedOver)).toBe(code !== undefined);
  });

  it('does not ask it again before it has rested, and asks it then', async () => {
    server.answer = (_request, response) => response.writeHead(503).end();
    await bench.order(orderFor(first));
    const asked = content().length;
    expect(asked).toBe(1);
    server.answer = undefined;
    expect(mirror.status(0).resting).toMatchObject({ code: 'MIRROR_UNREACHABLE' });
    await bench.clock.sleep(60_000, new AbortController().signal);
    await bench.order(orderFor(second));
    expect(served(bench)).toBe('1.1.0');
    expect(content().length).toBeGreaterThan(asked);
    expect(mirror.status(0).resting).toBeUndefined();
  });

  it('finds out whose bytes were wrong when the control plane finished what a mirror began', async () => {
    server.answer = (_request, response, body) => {
      response.writeHead(200, { 'content-length': body.length });
      response.write(Buffer.alloc(body.length / 2, 0x5a), () => response.destroy());
    };
    await bench.order(orderFor(first));
    expect(served(bench)).toBe('1.0.0');
    expect(bench.refusals).toEqual([]);
  });
});

describe('when the control plane cannot be asked for metadata', () => {
  const files = (): Map<string, Uint8Array> => bench.server.repository.files;
  beforeEach(() => {
    bench.server.metadataFault = (_request, response) => {
      response.destroy();
      return true;
    };
  });

  it('takes the word of a mirror, checked like that of the control plane, and says so', async () => {
    server.metadata = (name) => files().get(name);
    await bench.order(orderFor(first));
    expect(served(bench)).toBe('1.0.0');
    expect(told()).toContain(`by mirror ${server.url}, for want of the control plane`);
  });

  it('goes by what it knows where a mirror is behind, as long as that holds', async () => {
    const old = new Map(files());
    bench.server.metadataFault = undefined;
    bench.server.repository.publish('timestamp');
    await bench.updater.refreshRepository(new AbortController().signal);
    bench.server.metadataFault = (_request, response) => {
      response.destroy();
      return true;
    };
    server.metadata = (name) => old.get(name);
    await bench.order(orderFor(first));
    expect(served(bench)).toBe('1.0.0');
    expect(failures.map(({ code }) => code)).toEqual(['MIRROR_STALE']);
  });

  it.each([
    ['has expired', 'MIRROR_STALE', 400 * DAY_MS, (name: string) => files().get(name)],
    [
      'nobody signed',
      'MIRROR_WRONG',
      0,
      (name: string) => (name === 'timestamp.json' ? Buffer.from('{}') : files().get(name)),
    ],
  ] as const)('takes nothing on the word of a mirror whose metadata %s', async (_why, code, laterMs, metadata) => {
    server.metadata = metadata;
    bench.clock.advance(laterMs);
    await expect(bench.updater.refreshRepository(new AbortController().signal)).rejects.toMatchObject({
      code: 'FETCH_UNREACHABLE',
    });
    expect(failures.map((each) => each.code)).toEqual([code]);
    expect(bench.updater.repository().stale).toBeDefined();
  });
});

describe('when the control plane can be asked', () => {
  it('is not held back by a mirror that shows old metadata', async () => {
    const old = new Map(bench.server.repository.files);
    const { repository } = bench.server;
    const { [`${model}/1.1.0.json`]: _withdrawn, ...rest } = repository.targetsRole(model).targets;
    repository.targetsRole(model).targets = rest;
    repository.publish(model, 'snapshot', 'timestamp');
    server.metadata = (name) => old.get(name);
    await bench.order(orderFor(second));
    expect(bench.refusals).toMatchObject([{ error: { code: 'RELEASE_NOT_LISTED' } }]);
  });
});
