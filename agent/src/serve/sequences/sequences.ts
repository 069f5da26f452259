import type { Sequences as Definition } from '@drover/shared/manifest';
import type { Clock } from '../../host/clock.js';
import { overloaded, type RunRequest } from '../scheduling/run-queue.js';
import { copyOf } from '../tensors/copies.js';
import { isNumeric, type ModelTensor, type TensorMap } from '../tensors/tensor.js';
import { lost, missing, tooLarge, tooMany, unknown, type SequenceId } from './sequence-error.js';

/** Triton's sequence parameters of a request. */
export interface SequenceControl {
  /** 5 and "5" are different sequences. */
  readonly id: SequenceId;
  readonly isStart: boolean;
  readonly isEnd: boolean;
}

export interface SequenceRequest extends RunRequest {
  readonly sequence?: SequenceControl | undefined;
}

export interface SequencesOptions {
  readonly model: string;
  readonly definition: Definition;
  readonly clock: Clock;
  /** Others were served before it, whose state is gone: a sequence that is not known may have been one of theirs. */
  readonly isSuccessor: boolean;
  /** Runs the model: states that are not among the inputs are the initial ones; the inputs' buffers are gone afterwards. */
  readonly run: (request: RunRequest) => Promise<TensorMap>;
  /** Of all states together. */
  readonly maxBytes?: number;
  /** Requests that may wait for an earlier one of their sequence. */
  readonly maxWaiting?: number;
}

interface Sequence {
  /** By input. Undefined: the next request has to start it. */
  states: TensorMap | undefined;
  bytes: number;
  usedMs: number;
  pending: number;
  /** Settles when the last request that was taken has ended; never rejects. */
  tail: Promise<unknown>;
}

const MAX_BYTES = 256 * 1024 ** 2;
const MAX_WAITING = 256;

/**
 * The sequences of one activation of a recurrent model.
 *
 * INVARIANTS: requests of one sequence run one after the other, as they came. A request that fails leaves the state as it was, but a start drops what was
 * before it, whatever becomes of it. The number of sequences and the bytes of their states never exceed their bounds; nothing is dropped to make room.
 */
export class Sequences {
  readonly #options: SequencesOptions;
  readonly #maxBytes: number;
  readonly #maxWaiting: number;
  readonly #sinceMs: number;
  /** Where the output of a state goes with the next request. */
  readonly #inputOf: ReadonlyMap<string, string>;
  readonly #closing = new AbortController();
  /** Those that were not used for longest come first. */
  readonly #sequences = new Map<SequenceId, Sequence>();
  #bytes = 0;
  #pending = 0;
  #isSweeping = false;

  constructor(options: SequencesOptions) {
    this.#options = options;
    this.#maxBytes = options.maxBytes ?? MAX_BYTES;
    this.#maxWaiting = options.maxWaiting ?? MAX_WAITING;
    this.#sinceMs = options.clock.monotonic();
    this.#inputOf = new Map(options.definition.states.map(({ input, output }) => [output, input]));
  }

  get size(): number {
    return this.#sequences.size;
  }

  /** Without the states. @throws ServeError REQUEST_INVALID, SEQUENCE_UNKNOWN, SEQUENCE_LOST, SEQUENCE_LIMIT, SERVE_OVERLOADED; what running it throws */
  run(request: SequenceRequest): Promise<TensorMap> {
    const { sequence: control } = request;
    if (!control) throw missing(this.#options.model);
    // Whoever takes over knows nothing of what would be begun here.
    if (this.#closing.signal.aborted) throw lost(control.id);
    this.#sweep();
    if (this.#pending >= this.#maxWaiting) throw overloaded(this.#maxWaiting);
    const sequence = this.#find(control);
    sequence.pending += 1;
    this.#pending += 1;
    const turn = sequence.tail.then(() => this.#take(sequence, control, request));
    sequence.tail = turn.catch(() => undefined);
    return turn;
  }

  /** Another takes over: forgets all states. Requests that were taken before still run, others are told that their sequence is lost. */
  close(): void {
    this.#closing.abort();
    this.#sequences.clear();
  }

  #find({ id, isStart }: SequenceControl): Sequence {
    const known = this.#sequences.get(id);
    if (known) return known;
    if (!isStart) throw this.#notThere(id);
    const { maxSequences } = this.#options.definition;
    if (this.#sequences.size >= maxSequences) throw tooMany(maxSequences);
    const begun: Sequence = { states: undefined, bytes: 0, usedMs: 0, pending: 0, tail: Promise.resolve() };
    this.#sequences.set(id, begun);
    return begun;
  }

  #notThere(id: SequenceId) {
    const { clock, definition, isSuccessor } = this.#options;
    // Whatever was there before has timed out after that.
    const mayBeLost = isSuccessor && clock.monotonic() - this.#sinceMs < definition.idleTimeoutMs;
    return mayBeLost ? lost(id) : unknown(id, definition.idleTimeoutMs);
  }

  async #take(sequence: Sequence, control: SequenceControl, request: RunRequest): Promise<TensorMap> {
    try {
      const { id, isStart, isEnd } = control;
      if (isStart) this.#keep(sequence, undefined);
      else if (!sequence.states) throw this.#notThere(id);
      // What fails shall find the state as it was.
      const inputs = { ...request.inputs, ...copyOf(sequence.states ?? {}) };
      const { states, others } = this.#apart(await this.#options.run({ ...request, inputs }));
      this.#keep(sequence, isEnd ? undefined : states);
      return others;
    } finally {
      sequence.pending -= 1;
      this.#pending -= 1;
      this.#settle(sequence, control.id);
    }
  }

  /** Outputs that are states, by the input that they go to, and the others. */
  #apart(outputs: TensorMap): { readonly states: TensorMap; readonly others: TensorMap } {
    const states: Record<string, ModelTensor> = {};
    const others: Record<string, ModelTensor> = {};
    for (const [name, tensor] of Object.entries(outputs)) {
      const input = this.#inputOf.get(name);
      if (input === undefined) others[name] = tensor;
      else states[input] = tensor;
    }
    return { states, others };
  }

  #keep(sequence: Sequence, states: TensorMap | undefined): void {
    const bytes = states ? bytesOf(states) : 0;
    const total = this.#bytes - sequence.bytes + bytes;
    if (bytes > sequence.bytes && total > this.#maxBytes) throw tooLarge(this.#maxBytes);
    this.#bytes = total;
    sequence.bytes = bytes;
    sequence.states = states;
  }

  /** It goes to the end of those that were used, or goes away. */
  #settle(sequence: Sequence, id: SequenceId): void {
    sequence.usedMs = this.#options.clock.monotonic();
    if (this.#sequences.get(id) !== sequence) return;
    this.#sequences.delete(id);
    if (sequence.pending === 0 && !sequence.states) return;
    this.#sequences.set(id, sequence);
    this.#sweepLater();
  }

  #sweep(): void {
    const nowMs = this.#options.clock.monotonic();
    for (const [id, sequence] of this.#sequences) {
      if (sequence.pending > 0) continue;
      if (nowMs - sequence.usedMs < this.#options.definition.idleTimeoutMs) return;
      this.#keep(sequence, undefined);
      this.#sequences.delete(id);
    }
  }

  /** Also where no further request comes, the memory comes back. */
  #sweepLater(): void {
    const { signal } = this.#closing;
    if (this.#isSweeping || signal.aborted) return;
    this.#isSweeping = true;
    const { clock, definition } = this.#options;
    const again = (): void => {
      this.#isSweeping = false;
      this.#sweep();
      if (this.#sequences.size > 0) this.#sweepLater();
    };
    clock.sleep(definition.idleTimeoutMs, signal).then(again, (error: unknown) => {
      if (!signal.aborted) throw error;
    });
  }
}

const bytesOf = (states: TensorMap): number =>
  Object.values(states).reduce((sum, tensor) => sum + (isNumeric(tensor) ? tensor.data.byteLength : 0), 0);
