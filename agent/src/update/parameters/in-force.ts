import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelName, Version } from '@drover/shared/ids';
import { isCompatible, modelOfParameters } from '@drover/shared/manifest';
import type { Probation, RunningModel } from '@drover/shared/protocol';
import { makeDirectoryDurably, syncDirectory, systemCode, toWriteError, writeDurably } from '../../host/index.js';
import { UpdateError } from '../errors.js';
import type { WriteGate } from '../kill-points.js';
import type { Watch } from '../kinds/index.js';
import type { InstalledParameters, ParameterServing, Serving, ServingHealth } from '../ports.js';

export interface InForceOptions {
  readonly dataDir: string;
  readonly gate: WriteGate;
  readonly serving: Serving;
  readonly values: ParameterServing;
  /** Of a model that does not run at this moment: the release that the device would serve. */
  readonly committedVersion: (model: ModelName) => Version | undefined;
  readonly onIncident: (error: unknown) => void;
}

interface Put {
  readonly parameters: InstalledParameters;
  /** Counts of the model just before: what comes after is laid to the parameters. */
  before: ServingHealth;
}

/**
 * The parameters of this device's models. They are *in force* while the model that runs is one that they are for, by the word of the inference
 * process; otherwise nobody is given them, and they come back by themselves with such a model.
 *
 * INVARIANT: the file of a model holds, whole, what its parameters are, or is not there. It follows a moment after the inference process, whose
 * word decides what is in force.
 */
export class ParametersInForce {
  readonly #options: InForceOptions;
  readonly #installed = new Map<ModelName, Put>();
  /** One write of a file at a time: the last one has to be the newest. */
  #writing: Promise<void> = Promise.resolve();

  constructor(options: InForceOptions) {
    this.#options = options;
  }

  /** @returns the model, in words. @throws UpdateError PARAMETERS_INCOMPATIBLE (docs/protocol.md, section 3) */
  verifyFits(manifest: InstalledParameters['manifest']): string {
    const model = modelOfParameters(manifest.model);
    const version = this.#versionOf(model);
    if (version !== undefined && isCompatible(manifest, version)) return `${model} ${version}`;
    throw incompatible(manifest, version === undefined ? 'no release of it is here' : `this device has ${version}`);
  }

  /** Hands them to the inference process and to the file. @returns what has come of it, for the record */
  async put(candidate: InstalledParameters, signal: AbortSignal): Promise<string> {
    const { model: line, release, manifest, document, loaded } = candidate;
    const model = modelOfParameters(line);
    const { compatible } = manifest;
    const before = this.#options.serving.health(model);
    await this.#options.values.setParameters(
      model,
      { model, release, compatible, loaded, document: document.toString('utf8') },
      signal,
    );
    this.#installed.set(line, { parameters: candidate, before });
    await this.#writeFile(line);
    return this.running(line)
      ? `${model} has the parameters ${release.version}`
      : `the parameters ${release.version} wait for a release of ${model} that they are for`;
  }

  async remove(line: ModelName): Promise<void> {
    this.#installed.delete(line);
    await this.#options.values.setParameters(modelOfParameters(line), undefined, new AbortController().signal);
    await this.#writeFile(line);
  }

  /** By the word of the inference process. */
  running(line: ModelName): RunningModel | undefined {
    const found = this.#options.values.parametersInForce(modelOfParameters(line));
    return found && { release: found.release, loaded: found.loaded, provider: PROVIDER };
  }

  /** Another release of the model runs, or none: the file follows. Never fails what has changed the model. */
  async modelChanged(model: ModelName): Promise<void> {
    for (const [line, { parameters }] of this.#installed) {
      const { manifest, release } = parameters;
      if (modelOfParameters(line) !== model) continue;
      const version = this.#options.serving.running(model)?.release.version;
      if (version !== undefined && !isCompatible(manifest, version))
        this.#options.onIncident(dormant(release.version, manifest.compatible, model, version));
      await this.#writeFile(line).catch((error: unknown) => {
        if (this.#options.gate.cause() !== undefined) throw error;
        this.#options.onIncident(error);
      });
    }
  }

  /** Files of models whose parameters this device no longer knows: its journal was lost, and nobody would replace them. */
  async removeStrays(): Promise<void> {
    const kept = new Set([...this.#installed.keys()].map((line) => fileName(line)));
    const folder = this.#folder;
    for (const name of await namesIn(folder)) if (!kept.has(name)) await rm(join(folder, name), { force: true });
  }

  /** Their model is watched in their stead, from the moment they were put in force, and whether an application has refused them. */
  watch({ model: line, manifest, release }: InstalledParameters, probation: Probation): Watch {
    const model = modelOfParameters(line);
    const { serving, values } = this.#options;
    const put = this.#installed.get(line) ?? { before: NOTHING_YET };
    return {
      probation,
      contract: undefined,
      health: () => {
        const now = serving.health(model);
        // Another release of the model was activated meanwhile: its counts began anew.
        if (now.requests < put.before.requests || now.crashes < put.before.crashes) put.before = NOTHING_YET;
        return countsSince(put.before, now);
      },
      broken: () => {
        const rejected = values.parametersRejected(model);
        if (rejected?.digest === release.digest) return refusedByApplication(release.version, model, rejected.reason);
        const version = serving.running(model)?.release.version;
        return version === undefined || isCompatible(manifest, version)
          ? undefined
          : incompatible(manifest, `this device has ${version}`);
      },
      over: () => undefined,
      unfit: () => undefined,
      testAgain: () => Promise.resolve(''),
    };
  }

  #writeFile(line: ModelName): Promise<void> {
    const written = this.#writing.then(() => this.#write(line));
    this.#writing = written.catch(() => undefined);
    return written;
  }

  get #folder(): string {
    return join(this.#options.dataDir, 'parameters');
  }

  async #write(line: ModelName): Promise<void> {
    const folder = this.#folder;
    const file = join(folder, fileName(line));
    const installed = this.#installed.get(line)?.parameters;
    const wanted = installed && this.#fits(installed.manifest) ? installed.document : undefined;
    const present = await readIfThere(file);
    if (wanted ? present?.equals(wanted) : !present) return;
    this.#options.gate.pass(`parameters:${line}`);
    try {
      await makeDirectoryDurably(folder);
      if (wanted) await writeDurably(file, wanted);
      else {
        await rm(file, { force: true });
        await syncDirectory(folder);
      }
    } catch (error) {
      throw toWriteError(error, file);
    }
  }

  /** Between a start and the first activation, or while the inference process is started again, what the device would serve decides. */
  #versionOf(model: ModelName): Version | undefined {
    const { serving, committedVersion } = this.#options;
    return serving.running(model)?.release.version ?? committedVersion(model);
  }

  #fits(manifest: InstalledParameters['manifest']): boolean {
    const version = this.#versionOf(modelOfParameters(manifest.model));
    return version !== undefined && isCompatible(manifest, version);
  }
}

const fileName = (line: ModelName): string => `${modelOfParameters(line)}.json`;

async function readIfThere(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}

const PROVIDER: RunningModel['provider'] = { requested: ['parameters'], actual: 'parameters' };
const NOTHING_YET: ServingHealth = { requests: 0, failures: 0, crashes: 0 };

const countsSince = (before: ServingHealth, now: ServingHealth): ServingHealth => ({
  requests: now.requests - before.requests,
  failures: Math.max(0, now.failures - before.failures),
  crashes: now.crashes - before.crashes,
});

const incompatible = ({ model: line, version, compatible }: InstalledParameters['manifest'], why: string) =>
  new UpdateError(
    'PARAMETERS_INCOMPATIBLE',
    `The parameters ${version} are for ${modelOfParameters(line)} ${compatible}, and ${why}.`,
    {
      remedy:
        'Roll out a release of the model that they are for first, or publish parameters whose range holds this one.',
    },
  );

const dormant = (parameters: Version, compatible: string, model: ModelName, version: Version) =>
  new UpdateError(
    'PARAMETERS_DORMANT',
    `The parameters ${parameters} are for ${model} ${compatible}; ${version} runs now, and applications get none.`,
    {
      remedy:
        'Publish parameters whose range holds this release and roll them out. If the model goes back, they come back with it.',
    },
  );

const refusedByApplication = (parameters: Version, model: ModelName, reason: string) =>
  new UpdateError(
    'PARAMETERS_REJECTED',
    `An application refused the parameters ${parameters} of ${model}: ${reason.slice(0, 500)}`,
    { remedy: 'The device went back to the values before. Mend the values and publish them under a higher version.' },
  );
