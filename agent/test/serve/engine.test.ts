import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession } from 'onnxruntime-node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SessionOptions } from '../../src/serve/session/model-session.js';
import { openSession } from '../../src/serve/session/session.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { installClassifier } from './installed-classifier.js';

// There is no TensorRT here. In its place the CPU under its name, which keeps "engines" as TensorRT does where it is asked to (copies of the model with a mark behind it).

const MARK = Buffer.from('\nengine of driver ');
const providers = ['tensorrt', 'cpu'];

describe('the engine of a provider that compiles', () => {
  let directory: string;
  let model: InstalledModel;
  let driver = '1';
  let builds = 0;
  const answersOffBy = { model: 0, engine: 0 };
  let isDiskFull = false;

  const createNative: NonNullable<SessionOptions['createNative']> = async (file, { extra, ...options }) => {
    if (options.executionProviders?.[0] !== 'tensorrt') return InferenceSession.create(file, options);
    const bytes = readFileSync(file);
    const mark = bytes.indexOf(MARK);
    const isEngine = mark >= 0;
    if (isEngine && bytes.toString('utf8', mark + MARK.length) !== driver) throw new Error('engine of another driver');
    const { context_enable: isKept, context_file_path: path } = (extra?.['ep'] ?? {}) as Record<string, string>;
    if (isKept === '1' && isDiskFull) throw new Error('no space left on device');
    if (!isEngine) builds += 1;
    if (isKept === '1' && path !== undefined) writeFileSync(path, Buffer.concat([bytes, MARK, Buffer.from(driver)]));
    const content = isEngine ? bytes.subarray(0, mark) : bytes;
    const native = await InferenceSession.create(content, { ...options, executionProviders: ['cpu'] });
    const run = native.run.bind(native) as (...given: unknown[]) => Promise<InferenceSession.ReturnType>;
    const difference = isEngine ? answersOffBy.engine : answersOffBy.model;
    native.run = async (...given: unknown[]) => {
      const results = await run(...given);
      for (const { data } of Object.values(results)) (data as Float32Array)[0] = Number(data[0]) + difference;
      return results;
    };
    return native;
  };
  const open = async (which = model) => {
    const { session, provider } = await openSession(which, { providers, createNative });
    await session.close();
    return provider;
  };
  const engines = (): string[] => readdirSync(model.directory).filter((name) => name.startsWith('.engine-'));

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'drover-engine-'));
    model = await installClassifier({ directory });
    driver = '1';
    builds = 0;
    isDiskFull = false;
    answersOffBy.model = 0;
    answersOffBy.engine = 0;
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it('when the probe has built it, the process that serves does not', async () => {
    expect(await open()).toMatchObject({ actual: 'tensorrt', engine: 'built' });
    expect(await open()).toMatchObject({ actual: 'tensorrt', engine: 'reused' });
    expect(builds).toBe(1);
    expect(engines()).toHaveLength(1);
  });

  it.each([
    ['is of another driver', () => (driver = '2')],
    ['is damaged', () => writeFileSync(join(model.directory, engines()[0] ?? ''), 'damaged')],
    ['answers wrongly', () => (answersOffBy.engine = 1)],
  ])('when the one that was kept %s, it is built anew', async (_, happens) => {
    await open();
    happens();
    expect(await open()).toMatchObject({ actual: 'tensorrt', engine: 'built' });
    expect(builds).toBe(2);
    expect(engines()).toHaveLength(1);
  });

  it('when the provider itself answers wrongly, the next one runs, and nothing wrong is tried for ever', async () => {
    answersOffBy.model = 1;
    expect(await open()).toMatchObject({ actual: 'cpu', reason: expect.stringContaining('tensorrt') as unknown });
  });

  it('when it cannot be kept, the model runs all the same', async () => {
    isDiskFull = true;
    expect(await open()).toMatchObject({ actual: 'tensorrt', engine: 'unkept' });
    expect(engines()).toEqual([]);
  });

  it('when the power failed while it was written, what is there is not taken for one', async () => {
    await open();
    const [engine = ''] = engines();
    const unfinished = join(model.directory, engine.replace(/[0-9a-f]{64}\.onnx$/, 'unfinished'));
    writeFileSync(unfinished, readFileSync(join(model.directory, engine)));
    rmSync(join(model.directory, engine));
    expect(await open()).toMatchObject({ engine: 'built' });
    expect(existsSync(unfinished)).toBe(false);
  });

  it('when a provider does not compile, there is none', async () => {
    const { session, provider } = await openSession(model, { providers: ['cpu'] });
    await session.close();
    expect(provider.engine).toBeUndefined();
    expect(engines()).toEqual([]);
  });
});
