import { performance } from 'node:perf_hooks';
import { toCodedErrorJson, type CodedErrorJson } from '@drover/shared/coded-error';
import {
  decodeOnnx,
  describeModel,
  encodeOnnx,
  graph,
  model,
  node,
  valueInfo,
  servable,
  type ModelDescription,
  type Repairs,
} from '@drover/shared/onnx';
import type { Task } from '@drover/shared/task';
import { makeGoldenVectors } from './golden.js';
import { likelyStates, type LikelyState } from './likely-states.js';
import { loadModel } from './model-run.js';
import { possibleTasks, typeOf } from './task/index.js';

/** What the agent will do with a model, and what can be done about it where it is not what one would want. */
export interface Examination extends Repairs {
  readonly bytes: number;
  readonly description: Pick<
    ModelDescription,
    'irVersion' | 'opset' | 'inputs' | 'outputs' | 'operators' | 'parameters'
  >;
  /** Requests of several applications may be run together. */
  readonly hasBatchAxis: boolean;
  /** Of a recurrent model, by the names of its inputs and outputs. */
  readonly likelyStates: readonly LikelyState[];
  /** What it is published as where nothing is said, and what else its outputs fit, with the options that this needs. */
  readonly task: { readonly type: Task['type']; readonly possible: ReturnType<typeof possibleTasks> };
  /** On the CPU of this machine, in one thread as on devices; absent where the model could not be run. */
  readonly run?: { readonly medianMs: number; readonly memoryMiB: number };
  /** Why it cannot be published. */
  readonly problem?: CodedErrorJson;
  /** The file with all that can be mended, where something can. */
  readonly fixed?: Uint8Array;
}

const RUNS = 20;
/** To load the runtime with, before anything is measured. */
const TINY = encodeOnnx(
  model({
    opset: 13,
    graph: graph({
      name: 'tiny',
      inputs: [valueInfo('x', 'FP32', [1])],
      outputs: [valueInfo('y', 'FP32', [1])],
      nodes: [node('Identity', ['x'], ['y'])],
    }),
  }),
);

/** @throws OnnxError for what is no ONNX file at all */
export async function examineModel(file: Uint8Array): Promise<Examination> {
  const { model: mended, repairs } = servable(decodeOnnx(file));
  const { irVersion, opset, inputs, outputs, operators, parameters } = describeModel(mended);
  const signature = outputs.map(({ name, dtype, shape }) => ({ name, datatype: dtype, shape: [...shape] }));
  const isMended = repairs.zipMaps.length + repairs.initializerInputs.length > 0;
  const fixed = isMended ? encodeOnnx(mended) : undefined;
  const facts = {
    bytes: file.length,
    description: { irVersion, opset, inputs, outputs, operators, parameters },
    hasBatchAxis: [...inputs, ...outputs].every(({ shape }) => shape[0] === -1),
    likelyStates: likelyStates(inputs, outputs),
    ...repairs,
    task: {
      type: repairs.zipMaps.length === 1 ? 'classification' : typeOf({}, { outputs: signature, operators }),
      possible: possibleTasks({ outputs: signature, operators }),
    },
    ...(fixed && { fixed }),
  };
  try {
    return { ...facts, run: await tryIt(fixed ?? file) };
  } catch (error) {
    return { ...facts, problem: toCodedErrorJson(error) };
  }
}

/** Memory is what this process has grown by: the library of the runtime counts only where it was there before. */
async function tryIt(bytes: Uint8Array): Promise<{ medianMs: number; memoryMiB: number }> {
  await (await loadModel(TINY)).close();
  const before = process.memoryUsage.rss();
  const loaded = await loadModel(bytes);
  try {
    const [vector] = await makeGoldenVectors(loaded, undefined);
    const times: number[] = [];
    for (let run = 0; vector && run < RUNS; run++) {
      const startMs = performance.now();
      await loaded.run(vector.inputs);
      times.push(performance.now() - startMs);
    }
    times.sort((left, right) => left - right);
    const grown = process.memoryUsage.rss() - before;
    return { medianMs: times[Math.floor(times.length / 2)] ?? NaN, memoryMiB: Math.max(0, grown) / 1024 ** 2 };
  } finally {
    await loaded.close();
  }
}
