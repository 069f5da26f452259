import type { Digest, ModelName } from '@drover/shared/ids';
import { kindOf } from '@drover/shared/manifest';
import type { IncidentBody } from '@drover/shared/protocol';
import { withDeadline } from './deadline.js';
import { UpdateError } from './errors.js';
import type { Journal, ModelRecord } from './journal.js';
import type { WriteGate } from './kill-points.js';
import { kindFor, type DeviceFacts, type Runners } from './kinds/index.js';
import { isModel, type Installed } from './ports.js';
import { toReportableError } from './reportable.js';
import { adaptedModel, type ReleaseStore } from './store.js';
import type { ReleaseRef } from './accept.js';

interface BaseModelEnvironment extends DeviceFacts, Runners {
  readonly store: ReleaseStore;
  readonly journal: Journal;
  readonly gate: WriteGate;
  readonly activationDeadlineMs: number;
  readonly onIncident: (incident: IncidentBody) => void;
}

/** What a device serves while no update changes it: the committed release, with the adaptation on top if there is one. */
export class BaseModel {
  readonly #model: ModelName;
  readonly #environment: BaseModelEnvironment;
  #serves: Installed | undefined;

  constructor(model: ModelName, environment: BaseModelEnvironment) {
    this.#model = model;
    this.#environment = environment;
  }

  /** What was last activated. */
  serving(): Installed | undefined {
    return this.#serves;
  }

  /** Does the base serve as it is committed, by serving's own word? */
  isServed(): boolean {
    const { committed, adaptation } = this.#record;
    const running = kindFor(this.#model).running(this.#model, this.#environment);
    return (
      running !== undefined &&
      running.release.digest === committed?.digest &&
      running.adaptation === adaptation?.digest &&
      running.loaded === this.#serves?.loaded
    );
  }

  /** The update has activated its candidate. */
  nowServes(candidate: Installed): void {
    this.#serves = candidate;
  }

  get #record(): ModelRecord {
    return this.#environment.journal.models.get(this.#model) ?? {};
  }

  /**
   * Makes the base serve, without any network: the adaptation; else the committed release; else the one before it. What can't be activated is
   * reported; a device without any release stops serving the model. Rejects only when the signal aborts or the power was cut.
   *
   * @returns what serves now, for the record
   */
  async activate(signal: AbortSignal): Promise<string> {
    const { restore } = kindFor(this.#model);
    if (restore.by === 'giving-up') return restore.giveUp(this.#environment);
    if (restore.by === 'ending') {
      await restore.end(this.#model, this.#environment);
      return 'it has ended';
    }
    const { committed, previous, adaptation } = this.#record;
    const choices: { release: ReleaseRef; adaptation?: Digest }[] = [];
    if (committed && adaptation) choices.push({ release: committed, adaptation: adaptation.digest });
    if (committed) choices.push({ release: committed });
    if (previous) choices.push({ release: previous });
    for (const choice of choices) {
      try {
        return await this.#activateInstalled(await this.#load(choice.release, choice.adaptation, signal), signal);
      } catch (error) {
        this.#rethrowIfOver(error, signal);
        const what = `${this.#model} ${choice.release.version}${choice.adaptation ? ' (adapted)' : ''}`;
        this.#report(what, error);
      }
    }
    this.#serves = undefined;
    await restore.deactivate(this.#model, this.#environment);
    return choices.length === 0
      ? `there is no earlier release; ${this.#model} is not served`
      : 'no release could be activated';
  }

  /** Serves a fine-tuned file on top of the committed release, from now on and after restarts. On failure the base serves as before. */
  async adapt(modelFile: string, digest: Digest, signal: AbortSignal): Promise<void> {
    const { committed } = this.#record;
    if (!committed || kindOf(this.#model) !== 'model')
      throw notPossible(`${this.#model} has no committed release to adapt.`);
    await this.#environment.store.storeAdaptation(this.#model, modelFile, digest, signal);
    try {
      await this.#activateInstalled(await this.#load(committed, digest, signal), signal);
    } catch (error) {
      this.#rethrowIfOver(error, signal);
      await this.activate(signal);
      throw error;
    }
    this.#environment.journal.write('adapt', {
      model: this.#model,
      record: { ...this.#record, adaptation: { digest } },
    });
  }

  /** Serves the committed release as it was published. */
  async dropAdaptation(signal: AbortSignal): Promise<void> {
    const { adaptation, ...record } = this.#record;
    if (!adaptation) return;
    this.#environment.journal.write('drop-adaptation', { model: this.#model, record });
    await this.activate(signal);
  }

  async #load(release: ReleaseRef, adaptation: Digest | undefined, signal: AbortSignal): Promise<Installed> {
    const { store, hardwareClass, platform, site } = this.#environment;
    const installed = await store.load({ model: this.#model, release, hardwareClass, platform, site });
    if (adaptation === undefined) return installed;
    if (!isModel(installed)) throw notPossible(`${this.#model} is no model.`);
    const file = store.adaptationFile(adaptation);
    await store.storeAdaptation(this.#model, file, adaptation, signal);
    return adaptedModel(installed, file, adaptation);
  }

  async #activateInstalled(target: Installed, parent: AbortSignal): Promise<string> {
    const { activationDeadlineMs } = this.#environment;
    const { restore } = kindFor(this.#model);
    if (restore.by !== 'activating') throw notPossible(`${this.#model} is not activated again from here.`);
    const what = `Activating ${target.model} ${target.release.version}`;
    const reason = await withDeadline({ what, deadlineMs: activationDeadlineMs, signal: parent }, (signal) =>
      restore.activate(target, this.#environment, signal),
    );
    this.#serves = target;
    return reason;
  }

  #rethrowIfOver(error: unknown, signal: AbortSignal): void {
    if (signal.aborted || this.#environment.gate.cause() !== undefined) throw error;
  }

  #report(what: string, cause: unknown): void {
    const { code, what: why } = toReportableError(cause);
    const error = new UpdateError('UPDATE_FALLBACK_FAILED', `${what} could not be activated again (${code}: ${why})`, {
      remedy: 'The device goes on with an older release, or without one. Check its disk, then order a release for it.',
      cause,
    });
    this.#environment.onIncident({ error: toReportableError(error) });
  }
}

export const notPossible = (what: string): UpdateError =>
  new UpdateError('ADAPTATION_NOT_POSSIBLE', what, {
    remedy: 'Adapt again when a release is committed and no update is in progress.',
  });
