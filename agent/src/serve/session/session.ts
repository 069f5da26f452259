import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { Digest } from '@drover/shared/ids';
import type { Datatype, GoldenVector, TensorSignature } from '@drover/shared/manifest';
import * as ort from '../../onnxruntime/index.js';
import { checkModelFile } from '../../update/model-file.js';
import type { InstalledModel } from '../../update/ports.js';
import { ServeError } from '../errors.js';
import { initialStates, stateInputs, stateOutputs } from '../sequences/states.js';
import { compile, type Compiled } from './engine.js';
import { GoldenCheck, toTensors } from './golden-check.js';
import { readGoldenVectors } from './golden.js';
import type { ModelSession, OpenedSession, SessionOptions } from './model-session.js';
import { type ModelTensor, type TensorData, type TensorMap, viewOf } from '../tensors/tensor.js';

// The runtime's own log lines repeat what its exceptions say, and would flood the journal on machines without a GPU.
ort.env.logLevel = 'fatal';

const FATAL_ONLY = 4;

const RUNTIME_TYPES = {
  BOOL: 'bool',
  UINT8: 'uint8',
  UINT16: 'uint16',
  UINT32: 'uint32',
  UINT64: 'uint64',
  INT8: 'int8',
  INT16: 'int16',
  INT32: 'int32',
  INT64: 'int64',
  FP16: 'float16',
  FP32: 'float32',
  FP64: 'float64',
  BYTES: 'string',
} as const satisfies Record<Datatype, ort.Tensor.Type>;

/**
 * Loads a model with the first execution provider that a real run proves (the first golden vector), in this thread.
 *
 * @throws ServeError MODEL_UNLOADABLE (also where the file's bytes are not those that were verified), MODEL_RUN_FAILED, PROVIDER_UNAVAILABLE;
 *   OnnxError (see `checkModelFile`), before the runtime sees the file; ManifestError GOLDEN_VECTORS_INVALID
 */
export async function openSession(model: InstalledModel, options: SessionOptions): Promise<OpenedSession> {
  await checkBytes(model);
  await checkModelFile(model.modelFile, new AbortController().signal);
  const vectors = await readGoldenVectors(model);
  const fallbacks: string[] = [];
  let last: ServeError | undefined;
  const { requiredProviders } = model.variant;
  const allowed = options.providers.filter((each) => requiredProviders?.some((name) => name === each) ?? true);
  if (requiredProviders && allowed.length === 0)
    fallbacks.push(`this device is configured with ${options.providers.join(', ')} only`);
  for (const provider of allowed) {
    try {
      const startedMs = performance.now();
      const { session, engine } = await createProven(model, { provider, vectors }, options);
      const firstInferenceMs = Math.round(performance.now() - startedMs);
      const facts = {
        ...(engine === undefined ? {} : { engine }),
        ...(fallbacks.length === 0 ? {} : { reason: fallbacks.join('; ').slice(0, 2_000) }),
      };
      return {
        session,
        provider: { requested: [...options.providers], actual: provider, firstInferenceMs, ...facts },
      };
    } catch (error) {
      if (!(error instanceof ServeError)) throw error;
      last = error;
      fallbacks.push(`${provider}: ${wordsOf(error.cause ?? error)}`);
    }
  }
  // The CPU provider is part of the runtime: where it fails, the model is to blame.
  if (last && allowed.at(-1) === 'cpu') throw last;
  const which = requiredProviders
    ? `execution provider that the release requires (${requiredProviders.join(', ')})`
    : 'configured execution provider';
  throw new ServeError('PROVIDER_UNAVAILABLE', `No ${which} works here: ${fallbacks.join('; ')}.`, {
    remedy: requiredProviders
      ? 'Install the libraries of that provider and name it in serve.providers (docs/operations.md), or publish a variant for this hardware class that does not require it.'
      : 'Add "cpu" to serve.providers, or install the libraries of the GPU provider (docs/operations.md).',
    cause: last,
  });
}

interface ProofOptions {
  readonly provider: string;
  readonly vectors: readonly GoldenVector[];
}

/** An engine that was kept and answers wrongly is to blame before the provider is. */
async function createProven(
  model: InstalledModel,
  proof: ProofOptions,
  options: SessionOptions,
): Promise<Pick<Compiled, 'engine'> & { readonly session: ModelSession }> {
  const { session, engine, discard } = await create(model, proof.provider, options);
  try {
    await prove(session, model, proof);
    return { session, ...(engine === undefined ? {} : { engine }) };
  } catch (error) {
    await session.close();
    if (!discard) throw error;
    await discard();
    return createProven(model, proof, options);
  }
}

/**
 * A library that lies there proves nothing, and neither does a run: the answer has to be the one that was published, within the tolerance for this provider. One golden
 * vector is enough, unless the measure of the task has to decide, which needs all of them.
 */
async function prove(session: ModelSession, model: InstalledModel, { provider, vectors }: ProofOptions): Promise<void> {
  const check = new GoldenCheck(model, provider);
  for (const vector of vectors) {
    check.add(vector, await session.run(toTensors(vector.inputs)));
    if (!check.isOpen) break;
  }
  check.demand();
}

async function create(
  model: InstalledModel,
  provider: string,
  { intraOpThreads = 1, createNative = (file, options) => ort.InferenceSession.create(file, options) }: SessionOptions,
): Promise<Omit<Compiled, 'native'> & { readonly session: ModelSession }> {
  const runtimeVersion = ort.env.versions.common;
  let compiled: Compiled;
  try {
    compiled = await compile({
      model,
      provider,
      runtimeVersion,
      create: (file, more) =>
        createNative(file, {
          ...more,
          executionProviders: [provider],
          intraOpNumThreads: intraOpThreads,
          interOpNumThreads: 1,
          logSeverityLevel: FATAL_ONLY,
        }),
    });
  } catch (cause) {
    throw unloadable(model, wordsOf(cause), cause);
  }
  const { native, ...engine } = compiled;
  const { signature } = model.variant;
  const inputs = [...signature.inputs, ...stateInputs(model.variant)];
  const outputs = [...signature.outputs, ...stateOutputs(model.variant)];
  try {
    checkSignature(model, 'input', inputs, native.inputMetadata);
    checkSignature(model, 'output', outputs, native.outputMetadata);
    return { session: nativeSession(native, outputs, await initialStates(model)), ...engine };
  } catch (error) {
    await native.release();
    throw error;
  }
}

function nativeSession(
  native: ort.InferenceSession,
  outputs: readonly TensorSignature[],
  initial: TensorMap,
): ModelSession {
  const initialFeeds = Object.fromEntries(Object.entries(initial).map(([name, tensor]) => [name, toRuntime(tensor)]));
  const fetches = outputs.map(({ name }) => name);
  const datatypes = new Map(outputs.map(({ name, datatype }) => [name, datatype]));
  return {
    async run(inputs: TensorMap): Promise<TensorMap> {
      const feeds: Record<string, ort.Tensor> = { ...initialFeeds };
      try {
        for (const [name, tensor] of Object.entries(inputs)) feeds[name] = toRuntime(tensor);
        const results = await native.run(feeds, fetches);
        const tensors: Record<string, ModelTensor> = {};
        for (const name of fetches) {
          const result = results[name] as ort.Tensor;
          const datatype = datatypes.get(name);
          if (datatype !== undefined) tensors[name] = fromRuntime(datatype, result);
        }
        return tensors;
      } catch (cause) {
        throw new ServeError('MODEL_RUN_FAILED', `The runtime could not run the model: ${wordsOf(cause)}.`, {
          remedy:
            'Check that the inputs have values the model accepts; if golden vectors fail too, publish a repaired release.',
          cause,
        });
      }
    },
    close: () => native.release(),
  };
}

function toRuntime({ datatype, data, shape }: ModelTensor): ort.Tensor {
  // The runtime's overloads cannot follow that the array fits the type.
  return new ort.Tensor(RUNTIME_TYPES[datatype] as 'float32', data as Float32Array, shape);
}

function fromRuntime(datatype: Datatype, { dims: shape, data }: ort.Tensor): ModelTensor {
  if (datatype === 'BYTES') return { datatype, shape, data: data as string[] };
  // From Node 24 on the runtime gives its own array for FP16.
  const { buffer, byteOffset, byteLength } = data as TensorData;
  return { datatype, shape, data: viewOf(datatype, new Uint8Array(buffer, byteOffset, byteLength)) };
}

/** By name and datatype; shapes are left to the runs, since exporters declare them loosely. */
function checkSignature(
  model: InstalledModel,
  side: 'input' | 'output',
  signature: readonly TensorSignature[],
  metadata: readonly ort.InferenceSession.ValueMetadata[],
): void {
  for (const { name, datatype } of signature) {
    const found = metadata.find((value) => value.name === name);
    if (!found) throw unloadable(model, `it has no ${side} "${name}", which its manifest signs`);
    const wanted = RUNTIME_TYPES[datatype];
    if (!found.isTensor || found.type !== wanted) {
      throw unloadable(
        model,
        `its ${side} "${name}" is ${found.isTensor ? found.type : 'no tensor'}, its manifest signs ${datatype}`,
      );
    }
  }
}

/** What is reported as loaded is what was read here, not what was written to disk some day. */
async function checkBytes(model: InstalledModel): Promise<void> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(model.modelFile)) hash.update(chunk as Uint8Array);
  } catch (cause) {
    throw unloadable(model, wordsOf(cause), cause);
  }
  const found = `sha256:${hash.digest('hex')}` as Digest;
  if (found !== model.loaded) throw unloadable(model, `the bytes on disk are ${found}, verified were ${model.loaded}`);
}

const unloadable = (model: InstalledModel, why: string, cause?: unknown): ServeError =>
  new ServeError('MODEL_UNLOADABLE', `${model.model} ${model.release.version} cannot be loaded: ${why}.`, {
    remedy:
      'Export the model again for an operator set that ONNX Runtime knows, and publish that; `drover model publish` runs it first.',
    where: model.modelFile,
    cause,
  });

/** The runtime's own words on one line, without its source paths. */
function wordsOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const line = text
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/\/onnxruntime_src\/\S+\s*/g, '')
    .trim()
    .replace(/\.$/, '');
  return line.length > 300 ? `${line.slice(0, 300)}…` : line;
}
