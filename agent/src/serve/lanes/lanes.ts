import type { ModelName } from '@drover/shared/ids';
import type { InlineServing } from '../inline/inline-serving.js';
import type { InferenceResponse } from '../inline/served-models.js';
import type { ListenSettings } from '../process/messages.js';
import type { Region, SharedMemory } from '../protocol/shared-memory.js';
import type { AcceptTurns } from './accept-turns.js';
import { Lane, type LaneOptions } from './lane.js';
import type { Command, Descriptors, ForeignInference, Question } from './messages.js';

export interface LanesOptions extends Pick<LaneOptions, 'recorder' | 'onIncident' | 'onLost'> {
  readonly serving: InlineServing;
  readonly memory: SharedMemory;
  readonly settings: ListenSettings;
  /** For each lane, sockets of its own. */
  readonly descriptors: readonly Descriptors[];
  readonly turns: AcceptTurns;
}

/**
 * Further threads of the protocol, on the same sockets. A model that runs on the thread of the protocol is granted to them as well: they run it and answer themselves. Everything else
 * they hand to this thread, which decides.
 *
 * INVARIANT: nothing that an answer depends on changes while a model is granted. So an answer never depends on the lane that gave it.
 */
export class Lanes {
  readonly #serving: InlineServing;
  readonly #onIncident: (error: unknown) => void;
  readonly #lanes: readonly Lane[];
  /** Changes that are under way, by model. */
  readonly #changes = new Map<ModelName, number>();

  constructor({ serving, memory, settings, descriptors, turns: { shared: turns }, ...told }: LanesOptions) {
    this.#serving = serving;
    this.#onIncident = told.onIncident;
    const regions = memory.isAllowed ? memory.status() : [];
    this.#lanes = descriptors.map((each, index) => {
      const answer = (question: Question, signal: AbortSignal) => answerFor(question, { serving, memory, signal });
      return new Lane({
        ...told,
        settings,
        descriptors: each,
        models: serving.served(),
        regions,
        turns,
        thread: index + 1,
        answer,
      });
    });
  }

  /** Resolves when all of them listen. */
  async started(): Promise<void> {
    await Promise.all(this.#lanes.map(({ started }) => started));
    await Promise.all(this.#serving.served().map(({ model }) => this.#grant(model)));
  }

  /** Does something that a model is changed by. */
  async change<Result>(model: ModelName, work: () => Promise<Result>): Promise<Result> {
    const changes = this.#changes.get(model) ?? 0;
    this.#changes.set(model, changes + 1);
    try {
      await this.#all({ kind: 'withdraw', model });
      return await work();
    } finally {
      await this.#all({ kind: 'served', models: this.#serving.served() });
      const others = (this.#changes.get(model) ?? 1) - 1;
      if (others > 0) this.#changes.set(model, others);
      else {
        this.#changes.delete(model);
        await this.#grant(model);
      }
    }
  }

  /** Clients have registered other regions of shared memory. */
  regions(regions: readonly Region[]): Promise<void> {
    return this.#all({ kind: 'regions', regions });
  }

  /** What they have served was recorded when this resolves. */
  flush(): Promise<void> {
    return this.#all({ kind: 'flush' });
  }

  /** Another process serves from now on: they accept nothing any more. */
  giveWay(): Promise<void> {
    return this.#all({ kind: 'give-way' });
  }

  async end(how: 'close' | 'retire'): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.end(how)));
  }

  async #all(command: Command): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.command(command)));
  }

  /** A lane that can't have it hands its requests on, as it does until it has it. */
  async #grant(model: ModelName): Promise<void> {
    const grantable = this.#serving.grantable(model);
    if (!grantable) return;
    const parameters = this.#serving.parametersInForce(model);
    await this.#all({ kind: 'grant', parameters, ...grantable }).catch(this.#onIncident);
  }
}

interface Answering {
  readonly serving: InlineServing;
  readonly memory: SharedMemory;
  readonly signal: AbortSignal;
}

async function answerFor(question: Question, { serving, memory, signal }: Answering): Promise<unknown> {
  switch (question.kind) {
    case 'infer':
      return inferFor(question.request, serving, signal);
    case 'compare':
      return serving.compare(question);
    case 'feedback':
      return serving.feedback(question.model, question.requestId, question.labels);
    case 'label-requests':
      return serving.labelRequests(question.model);
    case 'answer-label':
      return serving.answerLabel(question.model, question.id, question.label);
    case 'parameters':
      return serving.parameters(question.model);
    case 'reject-parameters': {
      serving.rejectParameters(question.model, question.rejection);
      return;
    }
    case 'register':
      return memory.register(question.region);
    case 'unregister':
      return memory.unregister(question.name);
  }
}

async function inferFor(
  { leftMs, ...request }: ForeignInference,
  serving: InlineServing,
  signal: AbortSignal,
): Promise<InferenceResponse> {
  const deadlineMs = leftMs === undefined ? undefined : performance.now() + leftMs;
  const { parameters, ...response } = await serving.infer({ ...request, signal, deadlineMs });
  // Of the parameters only the version goes into an answer.
  return { ...response, parameters: parameters && { release: parameters.release } };
}
