import type { Digest, ModelName } from '@drover/shared/ids';
import type { StateBody } from '@drover/shared/protocol';
import { backoffMs, timeToJudgeBy } from '../host/index.js';
import { BaseModel, notPossible } from './base-model.js';
import { withDeadline } from './deadline.js';
import type { UpdateEnvironment } from './environment.js';
import { stopping } from './errors.js';
import { createExecutors, ensureCandidateServes, type Executors } from './executors.js';
import type { UpdateRecord } from './journal.js';
import { kindFor } from './kinds/index.js';
import { ModelJournal } from './model-journal.js';
import { isSupersedable, planStep, type Step } from './plan.js';
import { toReportableError } from './reportable.js';
import { nextState, stateRow } from './states.js';
import { failed, isUntrusted, newUpdate, type StepResult } from './step-result.js';
import type { StepContext } from './steps.js';

/** Pauses after a journal that can't be written, for example on a full disk. */
const HOLD = { firstMs: 1_000, maxMs: 60_000 };

/**
 * The update of one model: plans a step from the journaled facts, carries it out, journals the transition, until there is nothing to do.
 *
 * INVARIANTS: at most one step is carried out at a time; every transition is on disk before the next step begins; every step may be cut at
 * any point and carried out again.
 */
export class ModelUpdate {
  readonly model: ModelName;
  readonly base: BaseModel;
  readonly #environment: UpdateEnvironment;
  readonly #journal: ModelJournal;
  readonly #executors: Executors;
  readonly #closing = new AbortController();
  #step = new AbortController();
  #running: Promise<void> | undefined;

  constructor(model: ModelName, environment: UpdateEnvironment) {
    this.model = model;
    this.#environment = environment;
    this.#journal = new ModelJournal(environment.journal, model);
    this.base = new BaseModel(model, environment);
    this.#executors = createExecutors({
      model,
      base: this.base,
      journal: this.#journal,
      runners: environment,
      collectGarbage: () => this.#collectGarbage(),
    });
  }

  /** Serves again what served before the restart, then goes on with an interrupted update. Resolves once a model serves, or none can. */
  async resume(): Promise<void> {
    if (this.#journal.update && stateRow(this.#journal.update.state).resume !== this.#journal.update.state) {
      this.#advance({ event: 'interrupted', reason: 'the agent was stopped here' });
    }
    const { update } = this.#journal;
    const row = stateRow(update?.state ?? 'idle');
    if (update && row.mayCrashDevice) {
      const interruptions = update.closedOrderly ? update.interruptions : update.interruptions + 1;
      this.#journal.write('resume', { update: { ...update, interruptions, closedOrderly: false } });
    }
    const isGivenUp = planStep(this.#facts()).kind === 'fail-with';
    // Which version of the agent runs was decided by the launcher before this process began; its update goes on from there.
    if (kindFor(this.model).restore.by === 'giving-up') {
      this.start();
      return;
    }
    // Before anything else: the step that follows finds the base serving and leaves it alone.
    if (row.serves === 'committed' || isGivenUp) await this.base.activate(this.#closing.signal);
    else if (update) await this.#reactivateCandidate(update);
    this.start();
  }

  /** Begins to work, or turns to a newer order within the running work. */
  start(): void {
    if (this.#isOver()) return;
    if (this.#journal.update && this.#journal.record.pending && isSupersedable(this.#journal.update))
      this.#step.abort();
    if (!this.#running) this.#occupy(this.#work());
  }

  /** An order may arrive after the work has looked for one and before it has ended. */
  #occupy(work: Promise<unknown>): void {
    this.#running = work.then(
      () => this.#vacate(),
      () => this.#vacate(),
    );
  }
  #vacate(): void {
    this.#running = undefined;
    if (this.#journal.record.pending) this.start();
  }

  /** Rejects without changing anything while an update is in progress: its outcome decides what there is to adapt. */
  async adapt(modelFile: string, digest: Digest): Promise<void> {
    await this.#alone((signal) => this.base.adapt(modelFile, digest, signal));
  }
  async dropAdaptation(): Promise<void> {
    await this.#alone((signal) => this.base.dropAdaptation(signal));
  }
  async #alone(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    if (this.#running || this.#journal.update || this.#journal.record.pending)
      throw notPossible(`An update of ${this.model} is in progress.`);
    const working = work(this.#closing.signal).then(() => this.#collectGarbage());
    this.#occupy(working);
    await working;
  }

  status(): StateBody['models'][number] {
    const { accepted, lastOutcome } = this.#journal.record;
    const { update } = this.#journal;
    const running = kindFor(this.model).running(this.model, this.#environment);
    return {
      model: this.model,
      ...(running && { running }),
      update: update
        ? { state: update.state, deploymentId: update.deployment.deploymentId, release: update.deployment.release }
        : { state: 'idle' },
      ...(accepted && { accepted }),
      ...(lastOutcome && { lastOutcome }),
    };
  }

  async close(): Promise<void> {
    this.#closing.abort(stopping());
    this.#step.abort();
    await this.#running;
    const { update } = this.#journal;
    if (update && stateRow(update.state).mayCrashDevice && this.#environment.gate.cause() === undefined) {
      this.#journal.write('close', { update: { ...update, closedOrderly: true } });
    }
  }

  async #work(): Promise<void> {
    for (let failures = 0; !this.#isOver();) {
      const step = planStep(this.#facts());
      if (step.kind === 'rest') return;
      try {
        this.#advance(await this.#perform(step));
        failures = 0;
      } catch (error) {
        if (this.#isOver()) return;
        // Superseded: the next plan sees the newer order.
        if (this.#step.signal.aborted) continue;
        this.#environment.onIncident({ error: toReportableError(error) });
        await this.#environment.clock.sleep(backoffMs(HOLD, failures), this.#closing.signal).catch(() => undefined);
        failures += 1;
      }
    }
  }

  #nowMs(): number {
    const { clock, journal } = this.#environment;
    return timeToJudgeBy(clock.now(), journal.timeFloorMs());
  }

  /** The agent stops, or the power was cut: nothing more may be done. */
  #isOver(): boolean {
    return this.#closing.signal.aborted || this.#environment.gate.cause() !== undefined;
  }

  #facts() {
    const { committed, adaptation, pending } = this.#journal.record;
    const running = kindFor(this.model).running(this.model, this.#environment)?.release.digest;
    const { update } = this.#journal;
    const isOver = update !== undefined && kindFor(this.model).isOver(update.deployment, this.#nowMs());
    return { update, pending, committed, isAdapted: adaptation !== undefined, isOver, running };
  }

  /** A step's own failure is a result; a failure to keep the journal is thrown, for then nothing may go on. */
  async #perform(step: Exclude<Step, { kind: 'rest' }>): Promise<StepResult> {
    this.#step = new AbortController();
    const superseding = this.#step.signal;
    const state = this.#journal.update?.state ?? 'idle';
    const deadlineMs = this.#environment.deadlinesMs[state] ?? stateRow(state).deadlineMs;
    const signal = AbortSignal.any([superseding, this.#closing.signal]);
    try {
      return await withDeadline({ what: `The step "${state}"`, deadlineMs, signal }, (bounded) =>
        this.#execute(step, bounded),
      );
    } catch (error) {
      if (this.#isOver() || superseding.aborted || stateRow(state).on.failed === undefined) throw error;
      return failed(error);
    }
  }

  async #execute(step: Exclude<Step, { kind: 'rest' }>, signal: AbortSignal): Promise<StepResult> {
    const deployment = step.kind === 'begin' ? step.order : this.#journal.inProgress().deployment;
    const context: StepContext = { ...this.#environment, deployment, nowMs: () => this.#nowMs(), signal };
    const execute = this.#executors[step.kind] as (args: object, context: StepContext) => Promise<StepResult>;
    return execute(step, context);
  }

  /** After a restart in probation: the candidate served, and it was tested; a failure now is one like any other in probation. */
  async #reactivateCandidate({ deployment }: UpdateRecord): Promise<void> {
    const signal = this.#closing.signal;
    try {
      const nowMs = () => this.#nowMs();
      await ensureCandidateServes(this.base, { ...this.#environment, deployment, nowMs, signal });
    } catch (error) {
      if (this.#isOver()) throw error;
      this.#advance(failed(error));
      await this.base.activate(signal);
    }
  }

  /** The only place where the state changes: journals it, then tells. */
  #advance({ event, reason, error, toRecord, begins }: StepResult): void {
    const from = this.#journal.update?.state ?? 'idle';
    const to = nextState(from, event);
    const deployment = begins ?? this.#journal.inProgress().deployment;
    const update = this.#journal.update ?? newUpdate(deployment);
    this.#journal.write(`to:${to}`, {
      ...(toRecord && { record: toRecord(this.#journal.record) }),
      update: to === 'idle' ? null : { ...update, ...(error && { error }), state: to },
      transition: { model: this.model, deployment, from, to, reason },
    });
    const { deploymentId, release } = deployment;
    this.#environment.onTransition({
      deploymentId,
      model: this.model,
      release,
      from,
      to,
      reason: reason.slice(0, 2000),
      ...(error && { error }),
    });
    if (to === 'falling-back' && error && isUntrusted(error)) {
      this.#environment.onRefusal({ subject: 'release', deploymentId, error });
    }
    if (from !== 'committing') return;
    this.#collectGarbage();
    this.#dropKept();
  }

  /** Only memory is at stake, and a restart frees it as well. */
  #dropKept(): void {
    const { onIncident } = this.#environment;
    kindFor(this.model)
      .settled(this.model, this.#environment)
      .catch((error: unknown) => onIncident({ error: toReportableError(error) }));
  }

  /** Nothing depends on it, and it is done again at the next start: a failure is reported and does not hold the update up. */
  #collectGarbage(): void {
    try {
      this.#environment.collect();
    } catch (error) {
      if (this.#environment.gate.cause() !== undefined) throw error;
      this.#environment.onIncident({ error: toReportableError(error) });
    }
  }
}
