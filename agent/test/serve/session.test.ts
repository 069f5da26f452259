import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '@drover/shared/ids';
import { decodeGoldenVectors, encodeGoldenVectors, type GoldenVector } from '@drover/shared/manifest';
import { encodeOnnx, graph, model as onnxModel, node } from '@drover/shared/onnx';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readGoldenVectors, selfTest } from '../../src/serve/session/golden.js';
import { toTensors } from '../../src/serve/session/golden-check.js';
import { InferenceSession } from 'onnxruntime-node';
import type { SessionOptions } from '../../src/serve/session/model-session.js';
import { openSession } from '../../src/serve/session/session.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { install, installClassifier, modelWithExternalData } from './installed-classifier.js';

const DATA = process.env['DROVER_DATA_DIR'] ?? new URL('../../../../shared/data', import.meta.url).pathname;
const CPU = { providers: ['cpu'] };
const ON_CPU = { hardwareClass: 'generic', provider: 'cpu' };

describe('a session', () => {
  let directory: string;
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'drover-session-'))));
  afterEach(() => rmSync(directory, { recursive: true }));

  it('when the model is sound, it reports the first provider and passes its golden vectors', async () => {
    const model = await installClassifier({ directory });
    const { session, provider } = await openSession(model, CPU);
    expect(provider).toEqual({ requested: ['cpu'], actual: 'cpu', firstInferenceMs: expect.any(Number) as unknown });
    const result = await selfTest(session, model, await readGoldenVectors(model), ON_CPU);
    expect(result.worstDifference).toBeLessThan(1e-5);
    expect(result.latencyUs).toBeGreaterThan(0);
    await session.close();
  });

  it("when the machine lacks the GPU libraries, it falls back and gives the runtime's own words", async () => {
    const model = await installClassifier({ directory });
    const { session, provider } = await openSession(model, { providers: ['tensorrt', 'cuda', 'cpu'] });
    await session.close();
    if (provider.actual !== 'cpu') {
      expect(['tensorrt', 'cuda']).toContain(provider.actual);
      return;
    }
    expect(provider.reason).toMatch(/^tensorrt: .*AppendExecutionProvider_TensorRT.*; cuda: .*_Cuda.*Failed to load/);
  });

  it('when no provider of the order exists, it says so', async () => {
    const model = await installClassifier({ directory });
    await expect(openSession(model, { providers: ['abacus'] })).rejects.toMatchObject({
      code: 'PROVIDER_UNAVAILABLE',
      message: expect.stringContaining('abacus') as unknown,
    });
  });

  describe('when a GPU provider loads and answers', () => {
    /** The CPU under another name, with answers that are off by so much: what TF32 does to float32. */
    const cudaOffBy =
      (difference: number): NonNullable<SessionOptions['createNative']> =>
      async (file, options) => {
        if (options.executionProviders?.[0] !== 'cuda') return InferenceSession.create(file, options);
        const native = await InferenceSession.create(file, { ...options, executionProviders: ['cpu'] });
        const run = native.run.bind(native) as (...given: unknown[]) => Promise<InferenceSession.ReturnType>;
        native.run = async (...given: unknown[]) => {
          const results = await run(...given);
          for (const tensor of Object.values(results)) {
            const data = tensor.data as Float32Array;
            for (let index = 0; index < data.length; index++) data[index] = (data[index] ?? 0) + difference;
          }
          return results;
        };
        return native;
      };
    const withManifest = async (
      change: (model: InstalledModel) => Partial<Pick<InstalledModel, 'manifest' | 'variant'>>,
    ) => {
      const model = await installClassifier({ directory });
      return { ...model, ...change(model) };
    };
    const parity = ({ manifest }: InstalledModel, cuda: number) => ({
      manifest: {
        ...manifest,
        contract: { ...manifest.contract, providerParity: { cuda: { absolute: cuda, relative: 0 } } },
      },
    });
    const requiring = ({ variant }: InstalledModel) => ({
      variant: { ...variant, requiredProviders: ['cuda' as const] },
    });
    const providers = ['cuda', 'cpu'];

    it('is used where its answers are those that were published, within the tolerance for it', async () => {
      const model = await withManifest((each) => parity(each, 1e-2));
      const { session, provider } = await openSession(model, { providers, createNative: cudaOffBy(5e-3) });
      expect(provider).toMatchObject({ requested: providers, actual: 'cuda' });
      const vectors = await readGoldenVectors(model);
      const on = (name: string) => selfTest(session, model, vectors, { ...ON_CPU, provider: name });
      expect((await on('cuda')).worstDifference).toBeCloseTo(5e-3, 4);
      await expect(on('cpu')).rejects.toMatchObject({ code: 'SELF_TEST_FAILED' });
      await session.close();
    });

    it('is passed over where they are not, and the report says why', async () => {
      const model = await withManifest(() => ({}));
      const { session, provider } = await openSession(model, { providers, createNative: cudaOffBy(5e-3) });
      await session.close();
      expect(provider).toMatchObject({
        actual: 'cpu',
        reason: expect.stringMatching(/^cuda: .*difference 0\.00[45]/) as unknown,
      });
    });

    it('is demanded by the release, and not there or wrong, the device refuses rather than crawls', async () => {
      const model = await withManifest(requiring);
      const refused = { code: 'PROVIDER_UNAVAILABLE', message: expect.stringContaining('requires (cuda)') as unknown };
      await expect(openSession(model, { providers, createNative: cudaOffBy(5e-3) })).rejects.toMatchObject(refused);
      await expect(openSession(model, CPU)).rejects.toMatchObject(refused);
      const { session, provider } = await openSession(model, {
        providers: ['cpu', 'cuda'],
        createNative: cudaOffBy(0),
      });
      expect(provider.actual).toBe('cuda');
      await session.close();
    });
  });

  const opened = async (bytes: Uint8Array) => {
    const good = await installClassifier({ directory });
    writeFileSync(good.modelFile, bytes);
    return openSession({ ...good, loaded: digestOf(bytes) }, CPU);
  };

  it('when the file is not ONNX, the runtime never sees it', async () => {
    await expect(opened(Buffer.from('this is not a model'))).rejects.toMatchObject({ code: 'ONNX_NOT_A_MODEL' });
  });

  it('when a tensor of the model points to another file, the runtime never opens that', async () => {
    writeFileSync(join(directory, 'outside.bin'), Buffer.alloc(32));
    for (const location of ['outside.bin', '../outside.bin', '/etc/hostname']) {
      await expect(opened(modelWithExternalData(location))).rejects.toMatchObject({
        code: 'ONNX_EXTERNAL_DATA',
        message: expect.stringContaining(location) as unknown,
      });
    }
  });

  it('when the runtime cannot load what is an ONNX file, it is unloadable in its words', async () => {
    const nodes = [node('NoSuchOperator', [], ['y'])];
    const bytes = encodeOnnx(onnxModel({ opset: 17, graph: graph({ name: 'g', inputs: [], outputs: [], nodes }) }));
    await expect(opened(bytes)).rejects.toMatchObject({
      code: 'MODEL_UNLOADABLE',
      message: expect.stringContaining('NoSuchOperator') as unknown,
    });
  });

  it('when the bytes on disk changed after they were verified, it is unloadable', async () => {
    const model = await installClassifier({ directory });
    const other = await installClassifier({ directory: join(directory, 'other'), seed: 2 });
    writeFileSync(model.modelFile, readFileSync(other.modelFile));
    await expect(openSession(model, CPU)).rejects.toMatchObject({ code: 'MODEL_UNLOADABLE' });
  });

  it('when the manifest signs an input that the model lacks, it is unloadable', async () => {
    const model = await installClassifier({ directory });
    const { outputs } = model.variant.signature;
    const variant = {
      ...model.variant,
      signature: { inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 4] }], outputs },
    };
    await expect(openSession({ ...model, variant } as InstalledModel, CPU)).rejects.toMatchObject({
      code: 'MODEL_UNLOADABLE',
      message: expect.stringContaining('no input "x"') as unknown,
    });
  });

  const mnist = join(DATA, 'mnist/mnist.onnx');
  it.skipIf(!existsSync(mnist))(
    'when a real model has a fixed batch and initializers among its inputs, it runs',
    async () => {
      const zeros: GoldenVector = {
        inputs: [{ name: 'Input3', datatype: 'FP32', shape: [1, 1, 28, 28], bytes: new Uint8Array(4 * 784) }],
        outputs: [],
      };
      const model = install(
        readFileSync(mnist),
        [zeros],
        { directory },
        {
          inputs: [{ name: 'Input3', datatype: 'FP32', shape: [1, 1, 28, 28] }],
          outputs: [{ name: 'Plus214_Output_0', datatype: 'FP32', shape: [1, 10] }],
        },
      );
      const { session } = await openSession(model, CPU);
      const outputs = await session.run(toTensors(zeros.inputs));
      expect(outputs['Plus214_Output_0']?.shape).toEqual([1, 10]);
      await session.close();
    },
  );
});

describe('the self-test', () => {
  let directory: string;
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'drover-golden-'))));
  afterEach(() => rmSync(directory, { recursive: true }));

  /** Runs the self-test with one element of the expected probabilities replaced. */
  async function testWith(value: number, overrides: Partial<InstalledModel> = {}) {
    const model = { ...(await installClassifier({ directory })), ...overrides };
    const [vector] = await readGoldenVectors(model);
    if (!vector) throw new Error('no golden vector');
    const probabilities = vector.outputs.find(({ name }) => name === 'probabilities');
    if (!probabilities) throw new Error('no probabilities');
    new DataView(probabilities.bytes.buffer).setFloat32(4, value, true);
    const { session } = await openSession(model, CPU);
    try {
      return await selfTest(session, model, decodeGoldenVectors(encodeGoldenVectors([vector])), ON_CPU);
    } finally {
      await session.close();
    }
  }

  it('when an output is off, it names the vector, the output and the difference', async () => {
    await expect(testWith(7)).rejects.toMatchObject({
      code: 'SELF_TEST_FAILED',
      message: expect.stringMatching(/golden vector 0, output "probabilities", element 1: .* instead of 7/) as unknown,
    });
  });

  it('when NaN is expected or seen, it never passes', async () => {
    await expect(testWith(Number.NaN)).rejects.toMatchObject({ code: 'SELF_TEST_FAILED' });
  });

  it('when the candidate is an adaptation, it may answer differently, and the difference is reported', async () => {
    const model = await installClassifier({ directory });
    const result = await testWith(0.999_9, { adaptation: model.loaded });
    expect(result.worstDifference).toBeGreaterThan(1e-3);
  });

  it('when a run takes longer than the contract of the hardware class, it fails', async () => {
    const model = await installClassifier({ directory });
    const contract = {
      perHardwareClass: [{ hardwareClass: '*', maxLatencyMs: 1e-6, maxMemoryMiB: 1 }],
      parity: { absolute: 1, relative: 1 },
    };
    const { session } = await openSession(model, CPU);
    const strict = { ...model, manifest: { ...model.manifest, contract } };
    await expect(selfTest(session, strict, await readGoldenVectors(model), ON_CPU)).rejects.toMatchObject({
      code: 'SELF_TEST_FAILED',
      message: expect.stringContaining('the contract for "generic"') as unknown,
    });
    await session.close();
  });
});
