import type * as ort from 'onnxruntime-node';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import {
  bytesToStrings,
  stringsToBytes,
  type Datatype,
  type GoldenTensor,
  type Variant,
} from '@drover/shared/manifest';
import { checkOnnx, decodeOnnx, describeModel, encodeOnnx, servable, type Repairs } from '@drover/shared/onnx';
import { CliError } from '../errors.js';

export type Signature = Variant['signature'];
export type NamedTensors = readonly GoldenTensor[];

/** A model that has been checked and loaded by the runtime that will serve it. */
export interface LoadedModel {
  /** As it is served: the file itself, where nothing had to be mended. */
  readonly bytes: Uint8Array;
  readonly repairs: Repairs;
  readonly signature: Signature;
  /** Distinct names. */
  readonly operators: readonly string[];
  /** Tensors as little-endian bytes, row-major. @throws CliError CLI_MODEL_FAILED */
  run(inputs: NamedTensors): Promise<GoldenTensor[]>;
  close(): Promise<void>;
}

/** ONNX Runtime's tensor type by protocol datatype. Of FP16 the bits are kept. */
const NUMERIC_TYPES = {
  FP16: { type: 'float16', view: Uint16Array },
  FP32: { type: 'float32', view: Float32Array },
  FP64: { type: 'float64', view: Float64Array },
  INT8: { type: 'int8', view: Int8Array },
  UINT8: { type: 'uint8', view: Uint8Array },
  BOOL: { type: 'bool', view: Uint8Array },
  INT16: { type: 'int16', view: Int16Array },
  UINT16: { type: 'uint16', view: Uint16Array },
  INT32: { type: 'int32', view: Int32Array },
  UINT32: { type: 'uint32', view: Uint32Array },
  INT64: { type: 'int64', view: BigInt64Array },
  UINT64: { type: 'uint64', view: BigUint64Array },
} as const satisfies Record<Exclude<Datatype, 'BYTES'>, unknown>;

/** What somebody signed is taken as it is. */
const AS_IT_IS = { zipMaps: [], initializerInputs: [] };

/** @throws OnnxError for what is no usable ONNX; CliError CLI_RUNTIME_MISSING, CLI_MODEL_FAILED */
export async function loadModel(file: Uint8Array, { mayChange = true } = {}): Promise<LoadedModel> {
  const original = decodeOnnx(file);
  const { model, repairs } = mayChange ? servable(original) : { model: original, repairs: AS_IT_IS };
  checkOnnx(model);
  const bytes = model === original ? file : encodeOnnx(model);
  const { inputs, outputs, operators } = describeModel(model);
  const toSignature = (tensors: typeof inputs) =>
    tensors.map(({ name, dtype, shape }) => ({ name, datatype: dtype, shape: [...shape] }));
  const runtime = await importRuntime();
  const session = await openSession(runtime, bytes);
  return {
    bytes,
    repairs,
    signature: { inputs: toSignature(inputs), outputs: toSignature(outputs) },
    operators,
    run: async (tensors) => {
      const feeds = Object.fromEntries(tensors.map((tensor) => [tensor.name, toRuntime(runtime, tensor)]));
      try {
        return fromRuntime(await session.run(feeds), outputs);
      } catch (cause) {
        throw modelFailed('run', cause);
      }
    },
    close: () => session.release(),
  };
}

type Runtime = typeof ort;

/** Loaded only here: every other command works without it. */
async function importRuntime(): Promise<Runtime> {
  try {
    // The library for Linux would send usage data to its makers, and is asked not to by this.
    process.env['ORT_DISABLE_TELEMETRY'] = '1';
    return await import('onnxruntime-node');
  } catch (cause) {
    throw new CliError(
      'CLI_RUNTIME_MISSING',
      'ONNX Runtime cannot be loaded; golden vectors are made by running the model.',
      {
        remedy:
          'Install it beside drover (`npm install onnxruntime-node`), or publish a signed release with --envelope.',
        cause,
      },
    );
  }
}

async function openSession(runtime: Runtime, bytes: Uint8Array): Promise<InferenceSession> {
  try {
    return await runtime.InferenceSession.create(bytes, {
      executionProviders: ['cpu'],
      // As on devices: sums over more threads come out otherwise.
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      logSeverityLevel: 3,
    });
  } catch (cause) {
    throw modelFailed('load', cause);
  }
}

const modelFailed = (verb: string, cause: unknown) =>
  new CliError(
    'CLI_MODEL_FAILED',
    `ONNX Runtime does not ${verb} this model: ${cause instanceof Error ? cause.message : String(cause)}`,
    {
      remedy: 'Export the model again with operators and an operator set that ONNX Runtime supports.',
      cause,
    },
  );

function toRuntime(runtime: Runtime, { datatype, shape, bytes }: GoldenTensor): Tensor {
  if (datatype === 'BYTES') {
    const elements = shape.reduce((product, axis) => product * axis, 1);
    return new runtime.Tensor('string', bytesToStrings(bytes, elements) ?? [], [...shape]);
  }
  const { type, view } = NUMERIC_TYPES[datatype];
  const aligned = new Uint8Array(bytes).buffer;
  return new runtime.Tensor(type as 'float32', new view(aligned) as Float32Array, [...shape]);
}

function fromRuntime(
  results: InferenceSession.ReturnType,
  outputs: readonly { readonly name: string; readonly dtype: Datatype }[],
): GoldenTensor[] {
  return outputs.map(({ name, dtype }) => {
    const tensor = results[name];
    if (!tensor) throw new Error(`the output "${name}" is missing`);
    return { name, datatype: dtype, shape: [...tensor.dims], bytes: bytesOf(tensor.data) };
  });
}

function bytesOf(data: Tensor['data']): Uint8Array {
  if (!ArrayBuffer.isView(data)) return stringsToBytes(data);
  return new Uint8Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) as ArrayBuffer);
}
