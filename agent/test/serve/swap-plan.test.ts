import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/host/clock.js';
import { ProcessServing } from '../../src/serve/index.js';
import { InlineServing, openSession } from '../../src/serve/inline/index.js';
import { MemoryNeeds } from '../../src/serve/process/swap-plan.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { CLASSES, FEATURES, installClassifier } from './installed-classifier.js';
import { memoryRecorder } from './memory-recorder.js';

const signal = new AbortController().signal;
const RESERVE_MIB = 32;

describe('a swap that memory decides on', () => {
  let directory: string;
  const opened: { close(): Promise<void> }[] = [];
  const incidents: unknown[] = [];

  /** A release that may take so much. */
  const release = (version: string, maxMemoryMiB: number): Promise<InstalledModel> =>
    installClassifier({
      directory: join(directory, version),
      version,
      seed: Number(version[0]),
      manifest: {
        contract: {
          perHardwareClass: [{ hardwareClass: 'generic', maxLatencyMs: 10_000, maxMemoryMiB }],
          parity: { absolute: 1e-5, relative: 1e-5 },
        },
      },
    });
  const open = async (availableMiB: () => number): Promise<ProcessServing> => {
    const serving = await ProcessServing.open({
      host: '127.0.0.1',
      port: 0,
      providers: ['cpu'],
      hardwareClass: 'generic',
      serverVersion: '0.1.0',
      clock: systemClock,
      recorder: memoryRecorder(),
      onIncident: (error) => void incidents.push(error),
      availableMiB,
    });
    opened.push(serving);
    return serving;
  };
  const versionServed = async ({ address }: ProcessServing): Promise<string> => {
    const answer = await fetch(`http://127.0.0.1:${address.port}/v2/models/classifier/infer`, {
      method: 'POST',
      body: JSON.stringify({
        inputs: [{ name: 'features', datatype: 'FP32', shape: [1, FEATURES], data: [1, 2, 3, 4] }],
      }),
    });
    return ((await answer.json()) as { model_version: string }).model_version;
  };

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'drover-swap-'));
    incidents.length = 0;
  });
  afterEach(async () => {
    for (const each of opened.splice(0)) await each.close();
    rmSync(directory, { recursive: true });
  });

  it('when there is room for both, the old one serves until the new one does', async () => {
    const serving = await open(() => 1_000);
    await serving.activate(await release('1.0.0', 100), signal);
    await serving.activate(await release('2.0.0', 100), signal, 'keep');
    expect(await versionServed(serving)).toBe('2.0.0');
    expect(incidents).toEqual([]);
  });

  it('when there is room for one only, the self-test says that the old one will stop first, and the swap says for how long nothing was served', async () => {
    let availableMiB = 1_000;
    const serving = await open(() => availableMiB);
    await serving.activate(await release('1.0.0', 100), signal);
    availableMiB = RESERVE_MIB;
    const candidate = await release('2.0.0', 100);
    const { swap } = await serving.selfTest(candidate, signal);
    expect(swap).toMatchObject({ how: 'stop-first', availableMiB: RESERVE_MIB });
    expect(swap?.needMiB).toBeGreaterThan(0);
    await serving.activate(candidate, signal, 'keep');
    expect(await versionServed(serving)).toBe('2.0.0');
    expect(incidents).toMatchObject([
      { code: 'MODEL_STOPPED_FIRST', message: expect.stringMatching(/nothing of it was served for \d+ ms/) as unknown },
    ]);
  });

  it('when it would not fit even alone, it is refused while the old one serves on', async () => {
    let availableMiB = 1_000;
    const serving = await open(() => availableMiB);
    await serving.activate(await release('1.0.0', 100), signal);
    availableMiB = 50;
    await expect(serving.activate(await release('2.0.0', 500), signal, 'keep')).rejects.toMatchObject({
      code: 'MEMORY_INSUFFICIENT',
    });
    expect(await versionServed(serving)).toBe('1.0.0');
    // The way back is not refused: the alternative is to serve nothing.
    await serving.activate(await release('3.0.0', 500), signal, 'close');
    expect(await versionServed(serving)).toBe('3.0.0');
  });

  it('when the new one cannot be loaded after the old one stopped, the old one serves again', async () => {
    let availableMiB = 1_000;
    const serving = await open(() => availableMiB);
    const before = await release('1.0.0', 100);
    await serving.activate(before, signal);
    availableMiB = 50;
    const damaged = await release('2.0.0', 100);
    writeFileSync(damaged.modelFile, 'damaged');
    await expect(serving.activate(damaged, signal, 'keep')).rejects.toMatchObject({ code: 'MODEL_UNLOADABLE' });
    expect(serving.running(before.model)).toMatchObject({ loaded: before.loaded });
    expect(await versionServed(serving)).toBe('1.0.0');
  });

  it('when a request comes in between, it is told to come again in a moment', async () => {
    let open = (): void => undefined;
    let reach = (): void => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    const reached = new Promise<void>((resolve) => (reach = resolve));
    const [first, second] = [await release('1.0.0', 100), await release('2.0.0', 100)];
    const serving = new InlineServing({
      providers: ['cpu'],
      hardwareClass: 'generic',
      clock: systemClock,
      recorder: memoryRecorder(),
      onIncident: (error) => void incidents.push(error),
      open: async (model) => {
        if (model === second) {
          reach();
          await gate;
        }
        return openSession(model, { providers: ['cpu'] });
      },
    });
    opened.push(serving);
    await serving.activate(first, signal);
    const inputs = { features: { datatype: 'FP32' as const, shape: [1, FEATURES], data: new Float32Array(FEATURES) } };
    const ask = () => serving.infer({ model: first.model, requestId: 'r', inputs });
    const activating = serving.activate(second, signal, 'stop-first');
    await reached;
    await expect(ask()).rejects.toMatchObject({ code: 'MODEL_BEING_REPLACED' });
    open();
    await activating;
    expect((await ask()).outputs['probabilities']?.shape).toEqual([1, CLASSES]);
  });

  it('whatever the figures, both are loaded only where both fit, and a candidate is taken only where it fits alone', async () => {
    const [serving, candidate] = [await release('1.0.0', 1), await release('2.0.0', 1)];
    const size = fc.double({ min: 0, max: 10_000, noNaN: true });
    fc.assert(
      fc.property(size, size, size, fc.boolean(), (needMiB, freedMiB, availableMiB, isWayBack) => {
        const needs = new MemoryNeeds('generic');
        needs.measured(serving, freedMiB);
        needs.measured(candidate, needMiB);
        const plan = () => needs.plan({ candidate, serving, availableMiB, isWayBack }).how;
        if (needMiB + RESERVE_MIB <= availableMiB) expect(plan()).toBe('beside');
        else if (isWayBack || needMiB + RESERVE_MIB <= availableMiB + freedMiB) expect(plan()).toBe('stop-first');
        else expect(plan).toThrow('MiB are available');
      }),
    );
  });
});
