import type { Digest, ModelName, Version } from '@drover/shared/ids';
import type { Manifest, Variant } from '@drover/shared/manifest';
import type { ProviderReport, RunningModel } from '@drover/shared/protocol';

/** A release (or an adaptation of one) whose files lie verified on this disk: all that serving needs to load it. */
export interface InstalledModel {
  readonly model: ModelName;
  readonly release: { version: Version; digest: Digest };
  readonly manifest: Manifest;
  readonly variant: Variant;
  /** Absolute path of the file to load; for an adaptation: the fine-tuned file. */
  readonly modelFile: string;
  /** Digest of modelFile's bytes. */
  readonly loaded: Digest;
  readonly adaptation?: Digest;
  /** Absolute; the files of the release lie under their manifest paths. */
  readonly directory: string;
}

/** Counts since the activation of what is running now. */
export interface ServingHealth {
  readonly requests: number;
  readonly failures: number;
  readonly crashes: number;
  readonly latencyP99Us?: number;
}

/** What the updater needs of whoever runs models. */
export interface Serving {
  /**
   * Loads the candidate apart from what serves (a throwaway probe process on a real device), runs every golden vector,
   * checks parity and the contract's latency. Throws a CodedError (SELF_TEST_FAILED, MODEL_UNLOADABLE, …).
   */
  selfTest(
    candidate: InstalledModel,
    signal: AbortSignal,
  ): Promise<{ provider: ProviderReport; worstDifference: number; latencyUs: number }>;
  /**
   * Loads it, proves the provider by a run, switches new requests to it and drains the old; replaces any model of the same name.
   * Resolves with what is really loaded.
   */
  activate(candidate: InstalledModel, signal: AbortSignal): Promise<RunningModel>;
  /** Stops serving a model. */
  deactivate(model: ModelName): Promise<void>;
  running(model: ModelName): RunningModel | undefined;
  health(model: ModelName): ServingHealth;
}
