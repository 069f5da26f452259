import { mkdtemp, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ProcessServing } from '@drover/agent/serve';
import { startChild, type Load, type Measured } from './serve/children.js';
import { installBenchModel, isAtHand, MODELS, type BenchModelName } from './serve/models.js';
import { mlServerAtHand, startMlServer, type MlServer } from './serve/mlserver.js';
import { openBenchServing } from './serve/serving.js';

interface Bench {
  readonly seed: number;
  readonly quick: boolean;
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
}

const FULL = { rounds: 5, forMs: 2_000 };
const QUICK = { rounds: 3, forMs: 400 };
const CONNECTIONS = 4;

/** Serving against the bare runtime and against what people write (definitions: "Benchmarks: fixed definitions", serve). */
export default async function serve({ seed, quick, signal, progress }: Bench) {
  const mlserver = mlServerAtHand();
  progress(mlserver ?? 'without MLServer: DROVER_MLSERVER_PYTHON names no Python that has it');
  const names = (['mnist', 'rfb320', 'squeezenet'] as const).filter(isAtHand);
  if (names.length === 0) throw new Error('This benchmark needs the models of ../shared/data (or DROVER_DATA_DIR).');
  const folder = await mkdtemp(join(tmpdir(), 'drover-bench-serve-'));
  const opened = await openBenchServing(folder, progress);
  const { serving } = opened;
  try {
    const models: Record<string, object> = {};
    for (const name of names) {
      progress(name);
      models[name] = await measureModel({ name, seed, folder, serving, signal, progress, ...(quick ? QUICK : FULL) });
    }
    return { models, raw: { connections: CONNECTIONS, loadAverage: loadavg(), ...(mlserver && { mlserver }) } };
  } finally {
    await opened.close();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Measure {
  readonly name: BenchModelName;
  readonly seed: number;
  readonly folder: string;
  readonly serving: ProcessServing;
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
  readonly rounds: number;
  readonly forMs: number;
}

async function measureModel({ name, seed, folder, serving, signal, progress, rounds, forMs }: Measure) {
  const { original, installed, input, shape } = await installBenchModel({ folder, name, seed });
  await serving.activate(installed, signal);
  const [bare, naive, client] = [
    startChild('./bare-child.ts'),
    startChild('./naive-child.ts'),
    startChild('./load-child.ts'),
  ];
  const common = { input, shape, range: MODELS[name].range, seed, forMs };
  const { port: naivePort } = await naive.ask<{ port: number }>({ modelFile: original, input, shape });
  const ask = (form: Load['form'], connections: number, port = form === 'naive' ? naivePort : serving.address.port) => {
    return client.ask<Measured>({
      ...common,
      url: `http://127.0.0.1:${port}`,
      model: name,
      form,
      connections,
    } satisfies Load);
  };
  const seen: Record<string, Measured[]> = {};
  const note = (key: string, measured: Measured): void => void (seen[key] ??= []).push(measured);
  let mlserver: MlServer | undefined;
  try {
    for (let round = 0; round < rounds; round++) {
      signal.throwIfAborted();
      note('bare', await bare.ask({ ...common, modelFile: original }));
      note('bareMended', await bare.ask({ ...common, modelFile: installed.modelFile }));
      for (const form of ['binary', 'json', 'grpc', 'naive'] as const) note(form, await ask(form, CONNECTIONS));
      note('one', await ask('binary', 1));
      progress(`  round ${round + 1} of ${rounds}`);
    }
    // Last, since its processes are never quite idle.
    mlserver = await startMlServer({ folder, model: name, modelFile: original, signal });
    if (mlserver) progress('  MLServer');
    for (let round = 0; mlserver && round < rounds; round++) {
      note('mlserverJson', await ask('json', CONNECTIONS, mlserver.httpPort));
      note('mlserverGrpc', await ask('grpc', CONNECTIONS, mlserver.grpcPort));
    }
  } finally {
    await Promise.all([bare.stop(), naive.stop(), client.stop(), mlserver?.stop()]);
    await serving.deactivate(installed.model);
  }
  const rps = (key: string): number => median((seen[key] ?? []).map((each) => each.rps));
  const p50 = (key: string): number => median((seen[key] ?? []).map(({ p50Ms }) => p50Ms));
  return {
    bareRps: rps('bare'),
    /** For the record: the file as publishing mends it, which is what the agent serves. */
    bareMendedRps: rps('bareMended'),
    httpBinaryRps: rps('binary'),
    httpJsonRps: rps('json'),
    grpcRps: rps('grpc'),
    naiveRps: rps('naive'),
    /** By whichever of its forms it is faster in. */
    ...(mlserver && { mlserverRps: Math.max(rps('mlserverJson'), rps('mlserverGrpc')) }),
    ratio: rps('binary') / rps('bare'),
    p50BareMs: p50('bare'),
    p50BareMendedMs: p50('bareMended'),
    p50HttpMs: p50('one'),
    seen,
  };
}

const median = (values: readonly number[]): number =>
  [...values].sort((left, right) => left - right)[Math.floor(values.length / 2)] ?? NaN;
