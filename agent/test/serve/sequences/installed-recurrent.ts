import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { digestOf, ModelName } from '@drover/shared/ids';
import type { Sequences } from '@drover/shared/manifest';
import { encodeOnnx, floatTensor, graph, int64Tensor, model, node, valueInfo } from '@drover/shared/onnx';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { InstalledModel } from '../../../src/update/ports.js';
import { install } from '../installed-classifier.js';

export const WIDTH = 3;
const HIDDEN = 4;
const seeded = (length: number, seed: number): Float32Array =>
  Float32Array.from({ length }, (_, index) => Math.sin(seed * 7 + index * 1.7));

/** h' = tanh(x·W + h·U), y = h'·V, and a counter of the requests of the sequence, which is also told. */
const recurrentModel = (seed: number): Uint8Array =>
  encodeOnnx(
    model({
      opset: 17,
      graph: graph({
        name: 'recurrent',
        inputs: [
          valueInfo('x', 'FP32', [1, WIDTH]),
          valueInfo('h_in', 'FP32', [1, HIDDEN]),
          valueInfo('count_in', 'INT64', [1]),
        ],
        outputs: [
          valueInfo('y', 'FP32', [1, 2]),
          valueInfo('steps', 'INT64', [1]),
          valueInfo('h_out', 'FP32', [1, HIDDEN]),
          valueInfo('count_out', 'INT64', [1]),
        ],
        initializers: [
          floatTensor('W', [WIDTH, HIDDEN], seeded(WIDTH * HIDDEN, seed)),
          floatTensor('U', [HIDDEN, HIDDEN], seeded(HIDDEN * HIDDEN, seed + 1)),
          floatTensor('V', [HIDDEN, 2], seeded(HIDDEN * 2, seed + 2)),
          int64Tensor('one', [1], [1]),
        ],
        nodes: [
          node('MatMul', ['x', 'W'], ['xW']),
          node('MatMul', ['h_in', 'U'], ['hU']),
          node('Add', ['xW', 'hU'], ['sum']),
          node('Tanh', ['sum'], ['h_out']),
          node('MatMul', ['h_out', 'V'], ['y']),
          node('Add', ['count_in', 'one'], ['count_out']),
          node('Identity', ['count_out'], ['steps']),
        ],
      }),
    }),
  );

export interface RecurrentOptions {
  readonly directory: string;
  readonly seed?: number;
  readonly version?: string;
  readonly limits?: Partial<Omit<Sequences, 'states'>>;
  /** Of the hidden state; zeros unless given. */
  readonly initial?: Float32Array;
}

export interface Step {
  readonly y: readonly number[];
  readonly steps: number;
}

export interface Recurrent {
  readonly installed: InstalledModel;
  /** What the bare runtime answers to one sequence after the other step, from the initial state. */
  alone(inputs: readonly (readonly number[])[]): Promise<Step[]>;
  close(): Promise<void>;
}

/** A small real recurrent model as an installed release; its golden vectors are first requests of sequences. */
export async function installRecurrent(options: RecurrentOptions): Promise<Recurrent> {
  const { directory, seed = 1, version = '1.0.0', limits = {}, initial } = options;
  const bytes = recurrentModel(seed);
  const session = await InferenceSession.create(bytes);
  const run = async (x: readonly number[], h: Float32Array, count: BigInt64Array) =>
    session.run({
      x: new Tensor('float32', Float32Array.from(x), [1, WIDTH]),
      h_in: new Tensor('float32', h, [1, HIDDEN]),
      count_in: new Tensor('int64', count, [1]),
    });
  const start = () => [initial?.slice() ?? new Float32Array(HIDDEN), new BigInt64Array(1)] as const;
  const golden = async (x: readonly number[]) => {
    const { y, steps } = await run(x, ...start());
    const tensor = (name: string, datatype: 'FP32' | 'INT64', shape: number[], data: ArrayBufferView) => ({ name, datatype, shape, bytes: new Uint8Array(data.buffer).slice() }); // prettier-ignore
    return {
      inputs: [tensor('x', 'FP32', [1, WIDTH], Float32Array.from(x))],
      outputs: [
        tensor('y', 'FP32', [1, 2], y?.data as Float32Array),
        tensor('steps', 'INT64', [1], steps?.data as BigInt64Array),
      ],
    };
  };
  const plain = install(bytes, [await golden([1, 2, 3]), await golden([-1, 0, 1])], { directory, version, manifest: { model: ModelName('recurrent'), task: { type: 'tensors' } } }, {
    inputs: [{ name: 'x', datatype: 'FP32', shape: [1, WIDTH] }],
    outputs: [{ name: 'y', datatype: 'FP32', shape: [1, 2] }, { name: 'steps', datatype: 'INT64', shape: [1] }],
  }); // prettier-ignore
  const asset = { initial: { shape: [1, HIDDEN], ...(initial && { asset: 'h.bin' }) } };
  if (initial) writeFileSync(join(directory, 'h.bin'), initial);
  const sequences: Sequences = {
    states: [
      { input: 'h_in', output: 'h_out', datatype: 'FP32', shape: [1, HIDDEN], ...asset },
      { input: 'count_in', output: 'count_out', datatype: 'INT64', shape: [1], initial: { shape: [1] } },
    ],
    maxSequences: 100,
    idleTimeoutMs: 60_000,
    ...limits,
  };
  const variant = { ...plain.variant, sequences };
  const file = initial && {
    path: 'h.bin',
    digest: digestOf(new Uint8Array(initial.buffer)),
    bytes: initial.byteLength,
  };
  const assets = file ? [{ kind: 'state' as const, file }] : [];
  return {
    installed: { ...plain, variant, manifest: { ...plain.manifest, variants: [variant], assets } },
    async alone(inputs) {
      let [h, count] = start();
      const answers: Step[] = [];
      for (const x of inputs) {
        const outputs = await run(x, h, count);
        h = outputs['h_out']?.data as Float32Array<ArrayBuffer>;
        count = outputs['count_out']?.data as BigInt64Array<ArrayBuffer>;
        answers.push({ y: [...(outputs['y']?.data as Float32Array)], steps: Number(count[0]) });
      }
      return answers;
    },
    close: () => session.release(),
  };
}
