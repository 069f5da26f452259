import { existsSync } from 'node:fs';
import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { InferenceSession } from 'onnxruntime-node';
import { digestHex } from '@drover/shared/ids';
import type { ProviderReport } from '@drover/shared/protocol';
import { syncDirectory, syncFile } from '../../host/durable-file.js';
import { digestOfFile } from '../../host/file-digest.js';
import type { InstalledModel } from '../../update/ports.js';

export interface Compiled {
  readonly native: InferenceSession;
  /** Of providers that need an engine. */
  readonly engine?: NonNullable<ProviderReport['engine']>;
  /** Of one that was kept and turned out to be wrong: the next is built anew. */
  readonly discard?: () => Promise<void>;
}

/** What is added to the options of a session. */
export type EngineOptions = Pick<InferenceSession.SessionOptions, 'extra'>;

export interface CompileOptions {
  readonly model: Pick<InstalledModel, 'modelFile' | 'directory' | 'loaded'>;
  readonly provider: string;
  /** Of the runtime: engines of another one are not tried. */
  readonly runtimeVersion: string;
  readonly create: (file: string, options: EngineOptions) => Promise<InferenceSession>;
}

/** Providers that compile a model for the very device before they can run it, which takes minutes on a Jetson. */
const COMPILING: ReadonlySet<string> = new Set(['tensorrt']);

/**
 * Creates a session from the engine that was built for this model on this device, or builds it and keeps it: the probe, which comes first, takes the minutes, and the process that serves takes what it
 * left. The binding has no options for TensorRT's own cache, so the engine is kept as an EP context model (ONNX Runtime, "EP context design": `ep.context_enable`, `ep.context_file_path`).
 *
 * An engine lies in the folder of its release and goes with it. Its name holds the digest of its bytes, so that a damaged one is not loaded; one that the driver of today does not take is built
 * again. No file of a release can have its name, since those do not begin with a dot.
 *
 * @throws what `create` throws for the model itself
 */
export async function compile({ model, provider, runtimeVersion, create }: CompileOptions): Promise<Compiled> {
  if (!COMPILING.has(provider)) return { native: await create(model.modelFile, {}) };
  const { directory, loaded } = model;
  const prefix = `.engine-${provider}-${runtimeVersion}-${digestHex(loaded)}-`;
  for (const name of (await readdir(directory)).filter((each) => each.startsWith(prefix))) {
    const file = join(directory, name);
    const discard = (): Promise<void> => rm(file, { force: true });
    if (name === (await nameFor(prefix, file))) {
      try {
        return { native: await create(file, {}), engine: 'reused', discard };
      } catch {
        // Of another driver, or another version of the compiler: what is wrong with the model itself shows when it is built anew.
      }
    }
    await discard();
  }
  const unfinished = join(directory, `${prefix}unfinished`);
  const { native, isKept } = await build(create, model.modelFile, unfinished);
  if (!isKept) return { native, engine: 'unkept' };
  try {
    await syncFile(unfinished);
    const name = await nameFor(prefix, unfinished);
    if (name === undefined) return { native, engine: 'unkept' };
    await rename(unfinished, join(directory, name));
    await syncDirectory(directory);
    return { native, engine: 'built' };
  } catch {
    await rm(unfinished, { force: true });
    return { native, engine: 'unkept' };
  }
}

async function build(create: CompileOptions['create'], modelFile: string, file: string) {
  try {
    const options = { ep: { context_enable: '1', context_embed_mode: '1', context_file_path: file } };
    return { native: await create(modelFile, { extra: options }), isKept: existsSync(file) };
  } catch {
    // A full disk, or a model that cannot be written with its engine, is no reason not to run it; whatever else is wrong shows again.
    await rm(file, { force: true });
    return { native: await create(modelFile, {}), isKept: false };
  }
}

/** By its content; undefined where there is no such file. */
async function nameFor(prefix: string, file: string): Promise<string | undefined> {
  const digest = await digestOfFile(file, new AbortController().signal);
  return digest && `${prefix}${digestHex(digest)}.onnx`;
}
