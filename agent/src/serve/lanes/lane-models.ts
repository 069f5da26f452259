import type { ModelName } from '@drover/shared/ids';
import type { InstalledModel, ServedParameters } from '../../update/ports.js';
import type { CodedError } from '@drover/shared/coded-error';
import { notServed } from '../errors.js';
import type { GivenLabel, HeldAnswer } from '../inline/feedback.js';
import type { Grantable } from '../inline/active-model.js';
import type { InlineServing } from '../inline/inline-serving.js';
import type { InferenceRequest, InferenceResponse, ServedModels } from '../inline/served-models.js';
import type { LabelRequest } from '../label-desk.js';
import type { Rejection } from '../parameters/board.js';
import type { LabelOutcome } from '../recorder.js';
import type { ClientSignal } from '../scheduling/run-queue.js';
import { transferables } from '../tensors/tensor.js';
import type { ComparingSession } from '../trials/compared.js';
import type { SharedShadow } from '../trials/shadow-trial.js';
import type { FromLane, Question } from './messages.js';

interface Waiting {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: CodedError) => void;
}

export interface LaneModelsOptions {
  readonly post: (message: FromLane, transfer?: ArrayBuffer[]) => void;
  /** Hands over what was served here. */
  readonly flush: () => void;
  readonly inline: InlineServing;
}

/**
 * The models of the process as a lane sees them.
 *
 * INVARIANT: the lane answers for a model itself only between a grant and its withdrawal, in which time nothing changes that an answer depends on; everything else it asks of the thread that decides.
 */
export class LaneModels implements ServedModels {
  readonly #options: LaneModelsOptions;
  readonly #granted = new Set<string>();
  readonly #shadows = new Map<ModelName, SharedShadow>();
  readonly #waiting = new Map<number, Waiting>();
  #served = new Map<string, InstalledModel>();
  #lastCall = 0;
  /** One after the other: a model is withdrawn after it was loaded. */
  #work = Promise.resolve();

  constructor(options: LaneModelsOptions) {
    this.#options = options;
  }

  tell(models: readonly InstalledModel[]): void {
    this.#served = new Map(models.map((installed) => [installed.model, installed]));
  }

  /** @throws what keeps the model from being loaded here as well */
  grant({ installed, shadow }: Grantable, parameters: ServedParameters | undefined): Promise<void> {
    const { inline } = this.#options;
    const { model } = installed;
    return this.#inTurn(async () => {
      const { signal } = new AbortController();
      await inline.setParameters(model, parameters, signal);
      await inline.activate(installed, signal);
      if (shadow) {
        this.#shadows.set(model, shadow);
        await inline.startTrial(shadow.trial, signal);
      }
      this.#granted.add(model);
    });
  }

  withdraw(model: ModelName): Promise<void> {
    const { inline, flush } = this.#options;
    return this.#inTurn(async () => {
      this.#granted.delete(model);
      await inline.endTrial(model);
      await inline.deactivate(model);
      flush();
    });
  }

  /** The candidate of a trial that came with a grant: it runs where the thread that decides has it run. */
  openShadow({ model, release: { digest: candidate } }: InstalledModel): Promise<ComparingSession> {
    const shadow = this.#shadows.get(model);
    if (!shadow) return Promise.reject(notServed(model));
    const { provider, meetings } = shadow;
    return Promise.resolve({
      provider,
      meetings,
      compare: (inputs, answered) =>
        this.ask({ kind: 'compare', model, candidate, inputs, answered }, { transfer: transferables(inputs) }),
      close: () => Promise.resolve(),
    });
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#work.then(work);
    this.#work = done.catch(() => undefined);
    return done;
  }

  served(): readonly InstalledModel[] {
    return [...this.#served.values()];
  }

  find(model: string, version?: string): InstalledModel {
    const installed = this.#served.get(model);
    if (installed && (version === undefined || version === installed.release.version)) return installed;
    throw notServed(model, version);
  }

  infer(request: InferenceRequest): Promise<InferenceResponse> {
    if (this.#granted.has(request.model)) return this.#options.inline.infer(request);
    const { signal, deadlineMs, ...rest } = request;
    const leftMs = deadlineMs === undefined ? undefined : deadlineMs - performance.now();
    const question: Question = { kind: 'infer', request: { ...rest, leftMs } };
    return this.ask(question, { transfer: transferables(request.inputs), signal });
  }

  feedback(model: string, requestId: string, labels: readonly GivenLabel[]): Promise<LabelOutcome> {
    return this.ask({ kind: 'feedback', model, requestId, labels });
  }

  labelRequests(model: string): Promise<readonly LabelRequest[]> {
    return this.ask({ kind: 'label-requests', model });
  }

  answerLabel(model: string, id: string, label: GivenLabel): Promise<HeldAnswer> {
    return this.ask({ kind: 'answer-label', model, id, label });
  }

  parameters(model: string): Promise<ServedParameters> {
    return this.ask({ kind: 'parameters', model });
  }

  rejectParameters(model: string, rejection: Rejection): Promise<void> {
    return this.ask({ kind: 'reject-parameters', model, rejection });
  }

  /** Rejects with what the thread that decides refused it with. */
  ask<Answer>(
    question: Question,
    { transfer, signal }: { transfer?: ArrayBuffer[]; signal?: ClientSignal | undefined } = {},
  ): Promise<Answer> {
    const { post } = this.#options;
    const call = ++this.#lastCall;
    const gone = (): void => post({ kind: 'gone', call });
    signal?.addEventListener('abort', gone);
    return new Promise<Answer>((resolve, reject) => {
      this.#waiting.set(call, { resolve, reject });
      post({ kind: 'asked', call, question }, transfer);
    }).finally(() => signal?.removeEventListener('abort', gone));
  }

  /** What came back to a question. */
  answered(call: number, settle: (waiting: Waiting) => void): void {
    const waiting = this.#waiting.get(call);
    this.#waiting.delete(call);
    if (waiting) settle(waiting);
  }
}
