import { digestHex, digestOf } from '@drover/shared/ids';
import type { GoldenTensor, Sequences, SequenceState, TensorSignature } from '@drover/shared/manifest';
import { emptyTensor, toBytes } from '@drover/shared/tensors';
import { CliError } from '../errors.js';
import type { LoadedModel } from './model-run.js';
import { readNumpy } from './npy.js';

/** `--state in=out[:initial.npy]`. */
export interface StateGiven {
  readonly input: string;
  readonly output: string;
  /** A `.npy` file of what a sequence begins with; zeros unless given. */
  readonly initialFile?: string;
}

export interface SequenceOptions {
  readonly states: readonly StateGiven[];
  readonly maxSequences: number;
  readonly idleTimeoutMs: number;
}

/** A recurrent model as clients see it: without its states, each run the first of a sequence. */
export interface StatefulModel {
  readonly model: LoadedModel;
  readonly sequences: Sequences;
  /** What sequences begin with, by the path in the release. */
  readonly files: ReadonlyMap<string, Uint8Array>;
}

interface Initial extends SequenceState {
  readonly bytes: Uint8Array;
}

/** @throws CliError CLI_STATE_UNFIT, CLI_FILE_UNREADABLE */
export function withStates(loaded: LoadedModel, options: SequenceOptions): StatefulModel {
  const { maxSequences, idleTimeoutMs } = options;
  const files = new Map<string, Uint8Array>();
  const initial = options.states.map((given) => stateOf(loaded, given, files));
  const [inputs, outputs] = [initial.map(({ input }) => input), initial.map(({ output }) => output)];
  const isPublic = (hidden: readonly string[]) => (tensor: { readonly name: string }) => !hidden.includes(tensor.name);
  const signature = {
    inputs: loaded.signature.inputs.filter(isPublic(inputs)),
    outputs: loaded.signature.outputs.filter(isPublic(outputs)),
  };
  if (signature.inputs.length === 0 || signature.outputs.length === 0)
    throw unfit('a model needs an input and an output besides its states');
  const feeds: GoldenTensor[] = initial.map(({ input: name, datatype, initial: { shape }, bytes }) => {
    return { name, datatype, shape, bytes };
  });
  return {
    model: {
      ...loaded,
      signature,
      run: async (given) => (await loaded.run([...given, ...feeds])).filter(isPublic(outputs)),
    },
    sequences: { states: initial.map(({ bytes: _bytes, ...state }) => state), maxSequences, idleTimeoutMs },
    files,
  };
}

function stateOf({ signature }: LoadedModel, given: StateGiven, files: Map<string, Uint8Array>): Initial {
  const input = find(signature.inputs, 'input', given.input);
  const output = find(signature.outputs, 'output', given.output);
  const { datatype, shape } = input;
  if (datatype === 'BYTES' || !mayCarry(output, input))
    throw unfit(`"${output.name}" (${inWords(output)}) cannot go back into "${input.name}" (${inWords(input)})`);
  const state = { input: input.name, output: output.name, datatype, shape };
  if (given.initialFile === undefined) {
    const begins = shape.map((axis, index) => (axis === -1 && index === 0 ? 1 : axis));
    if (begins.includes(-1))
      throw unfit(
        `"${input.name}" (${inWords(input)}) has variable axes, and nothing says how long they are when a sequence begins`,
        `Give it as a file: --state ${input.name}=${output.name}:initial.npy, saved by numpy.save.`,
      );
    return { ...state, initial: { shape: begins }, bytes: toBytes(emptyTensor(datatype, begins)) };
  }
  const array = readNumpy(given.initialFile);
  const begins = { name: given.initialFile, datatype: array.datatype, shape: [...array.shape] };
  if (!mayCarry(begins, input))
    throw unfit(`"${given.initialFile}" (${inWords(begins)}) does not go into "${input.name}" (${inWords(input)})`);
  // Named by what is in it: states that begin alike share a file.
  const asset = `states/${digestHex(digestOf(array.bytes)).slice(0, 16)}.bin`;
  files.set(asset, array.bytes);
  return { ...state, initial: { shape: begins.shape, asset }, bytes: array.bytes };
}

/** Whether values of the one could go into the other, as far as their declarations say. */
export const mayCarry = (from: Omit<TensorSignature, 'name'>, into: Omit<TensorSignature, 'name'>): boolean =>
  from.datatype === into.datatype &&
  from.shape.length === into.shape.length &&
  from.shape.every((axis, index) => axis === -1 || into.shape[index] === -1 || axis === into.shape[index]);

function find(tensors: readonly TensorSignature[], side: string, name: string): TensorSignature {
  const found = tensors.find((tensor) => tensor.name === name);
  if (found) return found;
  throw unfit(`the model has no ${side} "${name}", but ${tensors.map((each) => `"${each.name}"`).join(', ')}`);
}

const inWords = ({ datatype, shape }: Omit<TensorSignature, 'name'>): string => `${datatype}, [${shape.join(', ')}]`;

const unfit = (why: string, remedy = 'Name each state as INPUT=OUTPUT; `drover model check FILE` shows both.') =>
  new CliError('CLI_STATE_UNFIT', `The states do not fit the model: ${why}.`, { remedy });
