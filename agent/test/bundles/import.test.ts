import { mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { blobEntry, orderEntry } from '@drover/shared/bundle';
import { DeviceId } from '@drover/shared/ids';
import { Value } from 'typebox/value';
import type { ImportAnswer } from '../../src/bundles/index.js';
import { importBundle } from '../../src/cli/import.js';
import type { Terminal } from '../../src/cli/terminal.js';
import { AgentConfig } from '../../src/config/index.js';
import { openStatusSocket } from '../../src/supervisor/status-socket.js';
import { openAgentBench, until, type AgentBench } from '../supervisor/agent-bench.js';
import { device, directorKey, model, orderFor, publish, signed, strangerKey } from '../update/fixtures/releases.js';
import { entriesOf, packed, type Entries } from './make-bundle.js';

const release = publish('1.0.0');
const DAY_MS = 86_400_000;

let bench: AgentBench;
let stick: string;
let socket: { close(): Promise<void> } | undefined;
beforeEach(async () => {
  stick = await mkdtemp(join(tmpdir(), 'drover-stick-'));
  bench = await openAgentBench(release);
  isolate();
  await start();
});
afterEach(async () => {
  await socket?.close();
  await bench.close();
  await rm(stick, { recursive: true, force: true });
});

/** No byte of the control plane arrives; the broker only carries reports. */
function isolate(): void {
  const silent = (_request: unknown, response: { destroy(): unknown }): true => {
    response.destroy();
    return true;
  };
  bench.server.fault = silent;
  bench.server.metadataFault = silent;
}

async function start(): Promise<void> {
  await bench.start();
  socket = await openStatusSocket(bench.dataDir, () => bench.agent.status());
}
async function stop(): Promise<void> {
  await socket?.close();
  await bench.stop();
}

const running = () => bench.agent.status().models.find((each) => each.model === model)?.running?.release.version;
const committed = () =>
  until(() => {
    const state = bench.agent.status().models.find((each) => each.model === model);
    return state?.update.state === 'idle' && state.running?.release.digest === release.release.digest;
  });

let order = orderFor(release);
const whole = (): Entries => {
  order = orderFor(release, {
    probation: { minMs: 0, minRequests: 0, maxMs: 5_000, maxFailureShare: 0.1, maxCrashes: 2 },
  });
  return [...entriesOf(bench.server.repository, release), [orderEntry(device), signed(order)]];
};

async function put(content: Uint8Array, name = 'release.bundle'): Promise<string> {
  const file = join(stick, name);
  await writeFile(file, content);
  return file;
}

/** What the command says, as the person at the device sees it. */
async function brought(file: string): Promise<{ status: number; answer: ImportAnswer }> {
  let said = '';
  const terminal: Terminal = {
    argv: [],
    environment: {},
    stdout: (text) => void (said += text),
    stderr: () => undefined,
    untilStopped: () => new Promise(() => undefined),
  };
  const config = Value.Default(AgentConfig, { dataDir: bench.dataDir }) as AgentConfig;
  const status = await importBundle(config, file, true, terminal);
  return { status, answer: JSON.parse(said) as ImportAnswer };
}
const left = async () => (await readdir(join(bench.dataDir, 'imports'))).length;

describe('when a bundle is brought to a device that has no network', () => {
  it('takes release and order from it, and reports what runs when there is a network', async () => {
    const { status, answer } = await brought(await put(packed(release, whole())));
    expect(answer).toMatchObject({ metadata: { result: 'taken' }, order: { result: 'taken' } });
    expect(status).toBe(0);
    await committed();
    const fetched = await until(() =>
      bench
        .of('transition')
        .map(({ body }) => body as { to: string; reason: string })
        .find(({ to }) => to === 'verifying'),
    );
    expect(fetched.reason).toContain('by bundle of gas-classifier 1.0.0, for want of the control plane');
    expect(fetched.reason).toMatch(/\d+ bytes from bundle of gas-classifier 1\.0\.0$/);
    await until(() => bench.of('state').some(({ body }) => JSON.stringify(body).includes('committed')));
    // It served its purpose.
    await until(async () => (await readdir(join(bench.dataDir, 'bundles'))).length === 0);
    expect(await left()).toBe(0);
  }, 20_000);

  it('is not held back by the cap on downloads', async () => {
    await stop();
    const config = Value.Default(AgentConfig, { dataDir: bench.dataDir }) as AgentConfig;
    // At this rate the release would take a minute and a half.
    await bench.start({ config: { ...config, download: { ...config.download, maxBytesPerSecond: 1_024 } } });
    socket = await openStatusSocket(bench.dataDir, () => bench.agent.status());
    await brought(await put(packed(release, whole())));
    await committed();
  }, 20_000);

  it('changes nothing when it is brought again', async () => {
    const file = await put(packed(release, whole()));
    await brought(file);
    await committed();
    const { status, answer } = await brought(file);
    expect(answer).toMatchObject({ metadata: { result: 'taken' }, order: { result: 'known' } });
    expect(status).toBe(0);
    expect(bench.of('refusal')).toEqual([]);
    expect(running()).toBe('1.0.0');
  }, 20_000);

  it('goes on after a stop, with the stick pulled out', async () => {
    const file = await put(packed(release, whole()));
    await stop();
    // The agent does not run: it waits for its start.
    expect((await brought(file)).status).toBe(0);
    await rm(file);
    await start();
    await until(
      () => bench.agent.status().models.some(({ update }) => update.state !== 'idle') || running() !== undefined,
    );
    await stop();
    await start();
    await committed();
  }, 20_000);

  it('keeps a release without an order until one comes, and downloads nothing then', async () => {
    const { answer } = await brought(await put(packed(release, entriesOf(bench.server.repository, release))));
    expect(answer).toMatchObject({ metadata: { result: 'taken' }, order: { result: 'none' } });
    expect(running()).toBeUndefined();
    await stop();
    await start();
    bench.server.requests.length = 0;
    whole();
    await bench.order(order);
    await committed();
    expect(bench.server.requests).toEqual([]);
  }, 20_000);

  it('refuses what has expired, like the same from the network', async () => {
    const content = packed(release, whole());
    bench.wallMs += 400 * DAY_MS;
    const { status, answer } = await brought(await put(content));
    expect(answer).toMatchObject({
      metadata: { result: 'refused', error: { code: 'TUF_EXPIRED' } },
      order: { result: 'refused', error: { code: 'DEPLOYMENT_EXPIRED' } },
    });
    expect(status).toBe(1);
    expect(running()).toBeUndefined();
  });
});

describe('when a bundle is not what it should be', () => {
  const refused = async (content: Uint8Array): Promise<string> => {
    const file = await put(content);
    const before = running();
    const code = await brought(file).then(
      ({ status, answer }) => {
        expect(status).toBe(1);
        return 'error' in answer
          ? answer.error.code
          : answer.order.result === 'refused'
            ? answer.order.error.code
            : 'taken';
      },
      (error: unknown) => (error as { code: string }).code,
    );
    expect(running()).toBe(before);
    expect(await left()).toBe(0);
    return code;
  };

  it('refuses a stick that was pulled out too early, at once', async () => {
    const file = await put(packed(release, whole()));
    await truncate(file, 50_000);
    expect(await refused(await readFile(file))).toBe('BUNDLE_TRUNCATED');
  });

  it('refuses one changed bit in a large file, takes nothing of it, and tells the operator', async () => {
    const content = packed(release, whole());
    const at = content.indexOf(release.modelBytes) + 40_000;
    content[at] = (content[at] ?? 0) ^ 1;
    expect(await refused(content)).toBe('BUNDLE_DAMAGED');
    await until(() => bench.of('incident').some(({ body }) => JSON.stringify(body).includes('BUNDLE_DAMAGED')));
    expect(bench.agent.status().repository.rootVersion).toBe(1);
  });

  it('refuses an order that is for another device, or by another key, and tells the operator', async () => {
    const release_ = entriesOf(bench.server.repository, release);
    const foreign = signed(orderFor(release, { deviceId: DeviceId('pump-8') }));
    expect(await refused(packed(release, [...release_, [orderEntry(device), foreign]]))).toBe(
      'DEPLOYMENT_WRONG_DEVICE',
    );
    const forged = signed(orderFor(release), strangerKey);
    expect(await refused(packed(release, [...release_, [orderEntry(device), forged]]))).toBe(
      'SIGNATURE_BELOW_THRESHOLD',
    );
    await until(() => bench.of('refusal').length === 2);
  });

  it('does not run a release that its publishers never listed, though everything about the bundle is in order', async () => {
    const forged = publish('1.0.1', { change: { description: 'made by whoever holds the stick and the director' } });
    const entries: Entries = [
      ...entriesOf(bench.server.repository, forged),
      [orderEntry(device), signed(orderFor(forged), directorKey)],
    ];
    await brought(await put(packed(forged, entries)));
    await until(() => bench.agent.status().models.some(({ update }) => update.state === 'fetching'));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(running()).toBeUndefined();
    // The bundle says no, which may be old; once the control plane can be asked, its no counts.
    bench.server.metadataFault = undefined;
    bench.server.fault = undefined;
    await until(() => bench.of('refusal').some(({ body }) => JSON.stringify(body).includes('RELEASE_NOT_LISTED')));
  }, 20_000);

  it('refuses a file that was swapped for another under the same name', async () => {
    const entries = whole().map(([name, content]): Entries[number] =>
      content === release.modelBytes ? [name, Buffer.alloc(content.length, 7)] : [name, content],
    );
    expect(await refused(packed(release, entries))).toBe('BUNDLE_MALFORMED');
    expect(entries.some(([name]) => name === blobEntry(release.manifest.variants[0]?.model.digest as never))).toBe(
      true,
    );
  });

  it('refuses what is no file, and follows nothing out of the folder', async () => {
    const pipe = join(stick, 'pipe');
    execFileSync('mkfifo', [pipe]);
    await expect(brought(pipe)).rejects.toMatchObject({ code: 'IMPORT_FILE_UNREADABLE' });
    await expect(brought(join(stick, 'nothing'))).rejects.toMatchObject({ code: 'IMPORT_FILE_UNREADABLE' });
    await rm(join(bench.dataDir, 'imports'), { recursive: true });
    await symlink(stick, join(bench.dataDir, 'imports'));
    const file = await put(packed(release, whole()));
    await expect(brought(file)).rejects.toMatchObject({ code: 'IMPORT_NOT_ALLOWED' });
    expect(await readdir(stick)).toEqual(['pipe', 'release.bundle']);
  });
});
