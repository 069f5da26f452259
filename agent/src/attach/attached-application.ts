import type { ModelName } from '@drover/shared/ids';
import type { RunningModel } from '@drover/shared/protocol';
import type { AttachedModel } from '../config/index.js';
import type { Clock } from '../host/clock.js';
import { ActivationCounts, runningModel } from '../serve/activation.js';
import type { InferenceRecord } from '../serve/recorder.js';
import type { InstalledModel, Replaced, ServingHealth } from '../update/ports.js';
import { ApplicationWord } from './application-word.js';
import { applicationEnvironment } from './environment.js';
import { AttachError } from './errors.js';
import type { ExpectedReleases, Said } from './observe/process-messages.js';
import { PlacedReleases } from './placed-release.js';
import { reload } from './reload.js';

export interface AttachedApplicationOptions {
  readonly model: ModelName;
  readonly settings: AttachedModel;
  /** `PATH` of the programs that it names. */
  readonly searchPath: string;
  readonly clock: Clock;
  /** Who reads observations has to know what they may be of. */
  readonly onExpected: (expected: ExpectedReleases) => void;
  readonly onIncident: (error: unknown) => void;
}

interface Delivered {
  readonly installed: InstalledModel;
  readonly folder: string;
  readonly counts: ActivationCounts;
  /** Only what the application says after it counts: before, the link led elsewhere. */
  readonly since: number;
}

interface LoadOptions {
  readonly wasLinked: boolean;
  /** Waits for an application that is not there as long as for one that is. */
  readonly isPatient: boolean;
  readonly signal: AbortSignal;
}

/** After a start of the agent an application that runs connects again within this time, and needs no reload. */
const RECONNECT_MS = 10_000;
/** Between two incidents about an application that runs something else, whatever it says meanwhile. */
const REMIND_AGAIN_MS = 60_000;
const never = new AbortController().signal;

/**
 * One application with its own runtime, and the model that it runs (docs/attach.md).
 *
 * INVARIANT: a release counts as running only while every voice of the application says, since the link leads to it, that it is loaded. What was
 * written, linked or asked for counts for nothing.
 */
export class AttachedApplication {
  readonly #options: AttachedApplicationOptions;
  readonly #placed: PlacedReleases;
  readonly #word: ApplicationWord;
  #target: Delivered | undefined;
  /** What the target took the place of; the application may still run it. */
  #before: Delivered | undefined;
  #isLoading = false;
  /** Folder that the application was reminded of, by what, and when: it will not get better by being told again at once. */
  #reminder: { readonly folder: string; readonly how: 'hook' | 'incident'; readonly atMs: number } | undefined;
  /** One run of the hook at a time: the last one sees what the link leads to last. */
  #hook: Promise<void> = Promise.resolve();

  constructor(options: AttachedApplicationOptions) {
    this.#options = options;
    this.#placed = new PlacedReleases(options.settings.path);
    this.#word = new ApplicationWord({
      health: options.settings.health,
      clock: options.clock,
      environment: () => this.environment(this.#target?.installed),
      onLoaded: () => this.#remind(),
      onCrash: (why) => {
        if (!this.#target) return;
        this.#target.counts.crashes += 1;
        options.onIncident(why);
      },
    });
  }

  expected(): ExpectedReleases {
    const { model, settings } = this.#options;
    const releases = [this.#target, this.#before].flatMap((each) => (each ? [each.installed] : []));
    return { model, path: settings.path, releases };
  }

  /** Lays the release where programs of the application can look at it, without switching to it. What nobody needs any more makes room. */
  async place(candidate: InstalledModel, signal: AbortSignal): Promise<string> {
    const folder = await this.#placed.place(candidate, signal);
    const linked = await this.#placed.linked();
    await this.#placed.keepOnly([folder, linked, this.#target?.folder, this.#before?.folder]);
    return folder;
  }

  /**
   * Switches the link and has the application load what it leads to.
   *
   * @param replaced `keep`: resolves only when the application says that it has loaded it. `close`: the release stays in place whatever the
   *   application does, unless it refuses it; undefined where it has not said (yet) that it loaded it.
   * @throws AttachError ATTACH_PATH_UNUSABLE, ATTACH_COPY_DAMAGED, ATTACH_RELOAD_FAILED, ATTACH_NOT_LOADED, ATTACH_LOAD_REFUSED
   */
  async activate(
    installed: InstalledModel,
    signal: AbortSignal,
    replaced: Replaced,
  ): Promise<RunningModel | undefined> {
    const folder = await this.place(installed, signal);
    const wasLinked = (await this.#placed.linked()) === folder;
    signal.throwIfAborted();
    const target = { installed, folder, counts: new ActivationCounts(), since: wasLinked ? 0 : this.#since(folder) };
    if (this.#target?.folder !== folder) this.#before = this.#target;
    this.#target = target;
    this.#options.onExpected(this.expected());
    if (wasLinked && replaced === 'close') {
      this.#remind();
      return this.running();
    }
    this.#isLoading = true;
    try {
      if (!wasLinked) await this.#placed.switchTo(folder);
      await this.#word.whileAwaited(() => this.#load(target, { wasLinked, isPatient: replaced === 'keep', signal }));
    } catch (error) {
      signal.throwIfAborted();
      if (replaced === 'keep' || isRefusal(error)) throw error;
      this.#options.onIncident(error);
      return undefined;
    } finally {
      this.#isLoading = false;
    }
    // What happened until now is not laid to it.
    this.#target = { ...target, counts: new ActivationCounts() };
    if (replaced === 'close') await this.settle();
    return this.#runs(target);
  }

  /** What the target took the place of is not needed any more. */
  async settle(): Promise<void> {
    this.#before = undefined;
    this.#options.onExpected(this.expected());
    if (this.#target) await this.#placed.keepOnly([this.#target.folder]);
  }

  /** Nothing is to be run any more: the link goes, and the application is told to look. */
  async deactivate(): Promise<void> {
    const last = this.#target;
    this.#target = undefined;
    this.#before = undefined;
    this.#options.onExpected(this.expected());
    await this.#placed.unlink();
    if (last) await this.#reload(undefined, never).catch(this.#options.onIncident);
  }

  /** By the word of the application. */
  running(): RunningModel | undefined {
    const running = [this.#target, this.#before].find(
      (each) => each && this.#word.saysLoaded(each.installed.loaded, each.since),
    );
    return running && this.#runs(running);
  }

  health(): ServingHealth {
    return (this.#target?.counts ?? new ActivationCounts()).health();
  }

  count(record: InferenceRecord): void {
    const installed = this.#target?.installed;
    if (record.release.digest === installed?.release.digest && record.adaptation === installed.adaptation)
      this.#target?.counts.add(record);
  }

  hear(said: Said): void {
    this.#word.hear(said);
  }

  /** The process that it speaks through has ended. */
  forget(): void {
    this.#word.forget();
  }

  close(): Promise<void> {
    return this.#word.close();
  }

  /** All that its programs are given. */
  environment(installed?: InstalledModel, path = this.#options.settings.path): Readonly<Record<string, string>> {
    const { searchPath, model } = this.#options;
    const { release, loaded } = installed ?? {};
    return applicationEnvironment({ searchPath, model, path, version: release?.version, loaded });
  }

  /** On the way back, an application that never loaded anything else has said so before. */
  #since(folder: string): number {
    return this.#before?.folder === folder ? this.#before.since : this.#word.now;
  }

  async #load({ installed, since }: Delivered, { wasLinked, isPatient, signal }: LoadOptions): Promise<void> {
    const { loadTimeoutMs, path } = this.#options.settings;
    const { model, release, loaded } = installed;
    const reconnectMs = Math.min(RECONNECT_MS, loadTimeoutMs);
    if (wasLinked && (await this.#word.untilLoaded({ loaded, since, timeoutMs: () => reconnectMs }, signal))) return;
    await this.#reload(installed, signal);
    const timeoutMs = (): number => (isPatient || !this.#word.isSilent ? loadTimeoutMs : reconnectMs);
    if (await this.#word.untilLoaded({ loaded, since, timeoutMs }, signal)) return;
    const what = `The application of ${model} did not say within ${timeoutMs()} ms that it loaded ${release.version} (${loaded}): ${this.#word.describe()}.`;
    throw new AttachError('ATTACH_NOT_LOADED', what, {
      where: path,
      remedy:
        'Read the log of the application. It has to say "loaded" over the observe socket, or in its health check, each time that it has loaded the file.',
    });
  }

  #reload(installed: InstalledModel | undefined, signal: AbortSignal): Promise<void> {
    const { reload: hook } = this.#options.settings;
    if (!hook) return Promise.resolve();
    const run = (): Promise<void> => reload(hook, this.environment(installed), signal);
    const running = this.#hook.then(run, run);
    this.#hook = running;
    return running;
  }

  /** It may run something else than what lies at its path: somebody was cut off between the link and the reload. */
  #remind(): void {
    const target = this.#target;
    if (this.#isLoading || !target || this.#word.isSilent) return;
    const { model, release, loaded } = target.installed;
    if (this.#word.saysLoaded(loaded, 0)) return;
    const { settings, onIncident } = this.#options;
    const { folder } = target;
    const atMs = this.#options.clock.monotonic();
    const before = this.#reminder?.folder === folder ? this.#reminder : undefined;
    if (before?.how === 'incident' && atMs - before.atMs < REMIND_AGAIN_MS) return;
    if (!before && settings.reload) {
      this.#reminder = { folder, how: 'hook', atMs };
      this.#reload(target.installed, never).catch(onIncident);
      return;
    }
    this.#reminder = { folder, how: 'incident', atMs };
    const what = `${model} ${release.version} (${loaded}) lies at the path of the application, and ${this.#word.describe()}.`;
    const remedy = 'Make the application load what its path leads to when it starts, and when it is told to reload.';
    onIncident(new AttachError('ATTACH_OTHER_MODEL', what, { where: settings.path, remedy }));
  }

  #runs({ installed }: Delivered): RunningModel {
    return runningModel(installed, { requested: [], actual: this.#word.runtime });
  }
}

const isRefusal = (error: unknown): boolean => error instanceof AttachError && error.code === 'ATTACH_LOAD_REFUSED';
