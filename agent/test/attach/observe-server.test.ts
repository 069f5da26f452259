import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ModelName } from '@drover/shared/ids';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { KnownReleases } from '../../src/attach/observe/known-releases.js';
import { listenObserve } from '../../src/attach/observe/observe-server.js';
import type { Said } from '../../src/attach/observe/process-messages.js';
import { SharedLimit } from '../../src/attach/observe/rate-limit.js';
import { systemClock } from '../../src/host/index.js';
import { memoryRecorder } from '../serve/memory-recorder.js';
import { until } from '../supervisor/agent-bench.js';
import { observeClient } from './observe-client.js';

describe('when a client of the observe socket takes its time', () => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-observe-'));
  const socket = join(folder, 'observe.sock');
  let said: Said[];
  let server: { close(): Promise<void> };
  let isCongested: boolean;
  afterAll(() => rmSync(folder, { recursive: true }));
  beforeEach(async () => {
    const heard: Said[] = (said = []);
    isCongested = false;
    const known = new KnownReleases();
    known.expect({ model: ModelName('classifier'), path: '/models/classifier', releases: [] });
    const limit = () => new SharedLimit(1_000, () => systemClock.monotonic());
    server = await listenObserve({
      socket,
      known,
      limits: { observations: limit(), rowBytes: limit(), isCongested: () => isCongested },
      recorder: memoryRecorder(),
      clock: systemClock,
      onSaid: (each) => void heard.push(each),
    });
  });
  afterEach(async () => {
    vi.useRealTimers();
    await server.close();
  });

  /** Timers are the test's; what sockets do is waited for by turns of the loop. */
  const settled = async (isSo: () => boolean): Promise<void> => {
    while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
  };

  it('it has to say hello within ten seconds, whatever else it sends, and may be silent afterwards', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const trickling = await observeClient(socket);
    const silent = await observeClient(socket, {});
    await settled(() => silent.answers.length === 1);
    await vi.advanceTimersByTimeAsync(6_000);
    trickling.socket.write('\n');
    await vi.advanceTimersByTimeAsync(3_999);
    expect(trickling.socket.destroyed).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    await trickling.closed;
    silent.say({ type: 'bye' });
    await settled(() => silent.answers.at(-1)?.type === 'bye');
    expect(silent.answers).toHaveLength(2);
  });

  it('what it says within a moment is passed on with its newest word, and before its end', async () => {
    const client = await observeClient(socket, {});
    const digests = Array.from({ length: 50 }, (_, index) => `sha256:${String(index).padStart(64, '0')}`);
    for (const digest of digests) client.say({ type: 'loaded', digest });
    client.say({ type: 'refused', digest: digests[0], reason: 'too large' });
    client.say({ type: 'bye' });
    await until(() => said.at(-1)?.what === 'left');
    expect(said.filter(({ what }) => what === 'loaded').length).toBeLessThan(50);
    expect(said.slice(-3)).toMatchObject([
      { what: 'loaded', digest: digests.at(-1) },
      { what: 'refused', digest: digests[0] },
      { what: 'left', farewell: true },
    ]);
  });

  it('when the supervisor takes nothing any more, what is observed is dropped and told, before it goes', async () => {
    isCongested = true;
    const client = await observeClient(socket, {});
    client.say({ type: 'inference', latencyUs: 1 });
    client.say({ type: 'inference', latencyUs: 1 });
    client.say({ type: 'label', id: 'late', labels: [1] });
    client.say({ type: 'bye' });
    await client.closed;
    expect(client.answers.slice(1)).toMatchObject([
      { code: 'OBSERVE_TOO_FAST', error: expect.stringMatching(/^1 observations were not taken/) as string },
      { code: 'OBSERVE_TOO_FAST', id: 'late' },
      { code: 'OBSERVE_TOO_FAST', error: expect.stringMatching(/^2 observations were not taken/) as string },
      { type: 'bye' },
    ]);
  });
});
