import { ModelName } from '@drover/shared/ids';
import type { RunningModel } from '@drover/shared/protocol';
import type { AgentConfig } from '../config/index.js';
import type { Clock } from '../host/clock.js';
import { createClosers } from '../supervisor/closers.js';
import { runProbe } from '../serve/process/probe.js';
import type { Recorder } from '../serve/recorder.js';
import type { InstalledModel, Replaced, SelfTested, Serving, ServingHealth } from '../update/ports.js';
import { AttachedApplication } from './attached-application.js';
import { AttachError } from './errors.js';
import { ObserveProcess } from './observe/observe-process.js';
import { demandOwnPaths } from './own-paths.js';
import { ProgramFailure, runProgram } from './program.js';

export interface AttachedServingOptions {
  readonly models: AgentConfig['attach']['models'];
  /** Path of the Unix socket that applications observe through. */
  readonly socket: string;
  readonly maxObservationsPerSecond: number;
  /** Of the probe. */
  readonly providers: readonly string[];
  readonly hardwareClass: string;
  /** `PATH` of the programs that the configuration names. */
  readonly searchPath: string;
  readonly clock: Clock;
  readonly recorder: Recorder;
  /** An application was lost or is unhealthy; the observe process died. */
  readonly onIncident: (error: unknown) => void;
}

const PROBE_TIMEOUT_MS = 120_000;

/** Models that applications run with a runtime of their own; the agent hands them the files, and hears how it goes (docs/attach.md). */
export class AttachedServing implements Serving {
  readonly #options: AttachedServingOptions;
  readonly #applications = new Map<ModelName, AttachedApplication>();
  readonly #closers = createClosers();
  #observe: ObserveProcess | undefined;

  private constructor(options: AttachedServingOptions) {
    this.#options = options;
    const { searchPath, clock, onIncident } = options;
    for (const [name, settings] of Object.entries(options.models)) {
      const model = ModelName(name);
      const application = new AttachedApplication({
        model,
        settings,
        searchPath,
        clock,
        onExpected: (expected) => this.#observe?.expect(expected),
        onIncident,
      });
      this.#applications.set(model, application);
      this.#closers.add(() => application.close());
    }
  }

  /** Resolves when applications can connect. @throws AttachError ATTACH_NOT_CONFIGURED, ATTACH_PATH_UNUSABLE, OBSERVE_SOCKET_UNUSABLE, OBSERVE_PROCESS_DIED */
  static async open(options: AttachedServingOptions): Promise<AttachedServing> {
    if (Object.keys(options.models).length === 0) throw nothingAttached();
    demandOwnPaths(options.models);
    const serving = new AttachedServing(options);
    const { socket, maxObservationsPerSecond, clock, recorder, onIncident } = options;
    try {
      const observe = await ObserveProcess.open({
        settings: { socket, maxObservationsPerSecond },
        expected: () => [...serving.#applications.values()].map((each) => each.expected()),
        clock,
        onSaid: (said) => serving.#applications.get(said.model)?.hear(said),
        onRecord(record) {
          serving.#applications.get(record.model)?.count(record);
          recorder.record(record);
        },
        onInputs: (counts) => recorder.inputs(counts),
        onLabel: (label) => recorder.label(label),
        onLost() {
          for (const application of serving.#applications.values()) application.forget();
        },
        onIncident,
      });
      serving.#observe = observe;
      serving.#closers.add(() => observe.close());
    } catch (error) {
      await serving.close();
      throw error;
    }
    return serving;
  }

  async selfTest(candidate: InstalledModel, signal: AbortSignal): Promise<SelfTested> {
    const application = this.#of(candidate.model);
    const { selfTest } = this.#settings(candidate.model);
    const { providers, hardwareClass } = this.#options;
    if (selfTest === 'off') return { said: 'not tested: attach.models.*.selfTest is off' };
    if (selfTest === 'probe') {
      const settings = { providers, hardwareClass };
      const probe = { settings, nodeFlags: [], timeoutMs: PROBE_TIMEOUT_MS };
      // What the runtime of the agent needs says nothing of the application's.
      const { needMiB: _, ...tested } = await runProbe(candidate, probe, signal);
      return tested;
    }
    const { command, timeoutMs } = selfTest;
    const environment = application.environment(candidate, await application.place(candidate, signal));
    try {
      await runProgram({ command, environment, timeoutMs }, signal);
    } catch (cause) {
      if (!(cause instanceof ProgramFailure)) throw cause;
      throw new AttachError('ATTACH_SELF_TEST_FAILED', `The self-test of the application ${cause.message}.`, {
        where: command[0],
        remedy: 'Mend the model for the runtime of the application, and publish a new release.',
        cause,
      });
    }
    return { said: `tested by ${command[0] ?? ''}` };
  }

  async activate(
    candidate: InstalledModel,
    signal: AbortSignal,
    replaced: Replaced = 'close',
  ): Promise<RunningModel | undefined> {
    return this.#of(candidate.model).activate(candidate, signal, replaced);
  }

  async dropKept(model: ModelName): Promise<void> {
    await this.#applications.get(model)?.settle();
  }

  async deactivate(model: ModelName): Promise<void> {
    await this.#applications.get(model)?.deactivate();
  }

  running(model: ModelName): RunningModel | undefined {
    return this.#applications.get(model)?.running();
  }

  health(model: ModelName): ServingHealth {
    return this.#applications.get(model)?.health() ?? { requests: 0, failures: 0, crashes: 0 };
  }

  /** Applications go on with what they have. */
  close(): Promise<void> {
    return this.#closers.close();
  }

  #settings(model: ModelName) {
    const settings = this.#options.models[model];
    if (settings) return settings;
    throw notAttached(model);
  }

  #of(model: ModelName): AttachedApplication {
    const application = this.#applications.get(model);
    if (application) return application;
    throw notAttached(model);
  }
}

const notAttached = (model: ModelName): AttachError =>
  new AttachError('ATTACH_NOT_CONFIGURED', `No application of this device is attached for ${model}.`, {
    remedy: `Add ${model} to attach.models in agent.json and restart the agent, or take the device out of the selector.`,
  });

const nothingAttached = (): AttachError =>
  new AttachError('ATTACH_NOT_CONFIGURED', 'No application is attached: attach.models is empty.', {
    remedy: 'Say in agent.json where each model goes (docs/attach.md), or start the agent with "run".',
  });
