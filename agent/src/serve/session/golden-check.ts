import type { GoldenTensor, GoldenVector, Tolerance } from '@drover/shared/manifest';
import {
  agreement,
  agreesEnough,
  decoderFor,
  pooled,
  TaskError,
  type Agreement,
  type Decoder,
} from '@drover/shared/task';
import type { GoldenCompared, InstalledModel } from '../../update/ports.js';
import { ServeError } from '../errors.js';
import { fromBytes, type ModelTensor, type TensorMap } from '../tensors/tensor.js';
import { compareElements, toleranceOn } from './elements.js';

export type TestedModel = Pick<InstalledModel, 'manifest' | 'variant' | 'adaptation'>;

/** Fresh buffers each time: a run may move them away. @throws ServeError SELF_TEST_FAILED */
export function toTensors(tensors: readonly GoldenTensor[]): TensorMap {
  return Object.fromEntries(
    tensors.map(({ name, datatype, shape, bytes }): [string, ModelTensor] => {
      const tensor = fromBytes(datatype, shape, bytes.slice());
      if (tensor) return [name, tensor];
      throw selfTestFailed(`the golden tensor "${name}" does not hold the elements of its shape [${shape.join(', ')}]`);
    }),
  );
}

/**
 * Holds what a provider answers to golden vectors against what was published (docs/protocol.md, section 3). Elements that are all within the tolerance for the provider are enough.
 * Where they are not, the measure of the task decides over all vectors together: the stated share has to agree, or, where none is stated, everything, with probabilities
 * and scores within the tolerance. Plain tensors have no other measure than their elements.
 *
 * An adaptation was tuned to answer differently: of it, the same shapes and finite numbers are asked, and the difference is reported; whether its answers are better is
 * for the gate of fine-tuning to judge.
 */
export class GoldenCheck {
  readonly #tolerance: Tolerance;
  /** Of the release; an adaptation has none. */
  readonly #minimum: number | undefined;
  readonly #decoder: Decoder | undefined;
  readonly #agreements: Agreement[] = [];
  #vectors = 0;
  #worstDifference = 0;
  #problem: string | undefined;
  #undecodable: TaskError | undefined;

  /** @throws TaskError TASK_UNFIT */
  constructor({ manifest, variant, adaptation }: TestedModel, provider: string) {
    const isAdapted = adaptation !== undefined;
    this.#tolerance = isAdapted ? { absolute: Infinity, relative: 0 } : toleranceOn(manifest, provider);
    this.#minimum = manifest.contract.agreement;
    const decoder = decoderFor(manifest.task, variant.signature.outputs);
    this.#decoder = isAdapted || decoder.kind === 'tensors' ? undefined : decoder;
  }

  /** More answers can change what is known: one is beyond the tolerance, and the task has a measure of its own. */
  get isOpen(): boolean {
    return this.#problem !== undefined && this.#decoder !== undefined;
  }

  /** In the order of the vectors. @throws ServeError SELF_TEST_FAILED where the vector itself is damaged */
  add(vector: GoldenVector, actual: TensorMap): void {
    const place = `golden vector ${this.#vectors++}`;
    const expected = toTensors(vector.outputs);
    const { largestDifference, problem } = compareElements(expected, actual, this.#tolerance);
    this.#worstDifference = Math.max(this.#worstDifference, largestDifference);
    if (problem !== undefined) this.#problem ??= `${place}, ${problem}`;
    if (!this.#decoder) return;
    try {
      const [wanted, got] = [this.#decoder.decode(expected), this.#decoder.decode(actual)];
      this.#agreements.push(agreement(wanted, got, { tolerance: this.#tolerance }));
    } catch (cause) {
      if (!(cause instanceof TaskError)) throw cause;
      this.#undecodable ??= cause;
    }
  }

  /** @throws ServeError SELF_TEST_FAILED */
  demand(): GoldenCompared {
    const worstDifference = this.#worstDifference;
    if (this.#problem === undefined) return { worstDifference };
    if (this.#undecodable) throw selfTestFailed(`${this.#problem}; ${this.#undecodable.message}`, this.#undecodable);
    const [first] = this.#agreements;
    if (!first) throw selfTestFailed(this.#problem);
    const all = pooled(this.#agreements);
    const { value, compared, beyondTolerance, largestDifference } = all;
    const agreed = { measure: first.measure, value, compared };
    if (compared === 0)
      throw selfTestFailed(`${this.#problem}; the answers hold nothing that could be compared by ${first.measure}`);
    if (agreesEnough(all, this.#minimum)) return { worstDifference, agreement: agreed };
    const differing = `${beyondTolerance} beyond the tolerance, by up to ${largestDifference}`;
    const asked = this.#minimum === undefined ? `everything has to agree (${differing})` : `${this.#minimum} is asked`;
    throw selfTestFailed(`${this.#problem}; by ${first.measure} ${value} of ${compared} agree, and ${asked}`);
  }
}

export const selfTestFailed = (why: string, cause?: unknown): ServeError =>
  new ServeError('SELF_TEST_FAILED', `The self-test failed: ${why}.`, {
    remedy:
      'Do not roll this release out on this hardware; make golden vectors with the runtime that devices use, or widen the contract.',
    cause,
  });
