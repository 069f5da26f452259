import { mkdtemp, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createInferenceClient } from '@drover/agent/client';
import { installBenchModel, isAtHand, type BenchModel } from './serve/models.js';
import { openBenchServing } from './serve/serving.js';

interface Bench {
  readonly seed: number;
  readonly quick: boolean;
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
}

/** A life that is longer than this begins the pauses between restarts anew. */
const LIFE_MS = 10_500;
const ANSWER_WITHIN_MS = 30_000;
const RETRY_MS = 5;

/** What a native crash costs: the time from a SIGKILL of the inference process, which serves two models, until a client that keeps asking is answered by both again. */
export default async function crash({ seed, quick, signal, progress }: Bench) {
  const names = (['rfb320', 'squeezenet'] as const).filter(isAtHand);
  if (names.length === 0) throw new Error('This benchmark needs the models of ../shared/data (or DROVER_DATA_DIR).');
  const crashes = quick ? 3 : 20;
  const folder = await mkdtemp(join(tmpdir(), 'drover-bench-crash-'));
  const opened = await openBenchServing(folder, progress);
  const { serving } = opened;
  const client = createInferenceClient({ url: `http://127.0.0.1:${serving.address.port}` });
  const outagesMs: number[] = [];
  try {
    const models: BenchModel[] = [];
    for (const name of names) models.push(await installBenchModel({ folder, name, seed }));
    for (const { installed } of models) await serving.activate(installed, signal);
    const askAll = async (): Promise<void> => {
      for (const { installed, input, shape, values } of models) {
        await client.infer(installed.model, { [input]: { datatype: 'FP32', shape: [...shape], data: values.slice() } });
      }
    };
    for (let index = 0; index < crashes; index++) {
      await askAll();
      await delay(LIFE_MS, undefined, { signal });
      const { pid } = serving;
      if (pid === undefined) throw new Error('the inference process has no pid');
      const killedMs = performance.now();
      process.kill(pid, 'SIGKILL');
      for (;;) {
        try {
          await askAll();
          break;
        } catch (error) {
          if (performance.now() - killedMs > ANSWER_WITHIN_MS) throw error;
          await delay(RETRY_MS);
        }
      }
      outagesMs.push(performance.now() - killedMs);
      progress(`crash ${index + 1} of ${crashes}: ${Math.round(outagesMs.at(-1) ?? NaN)} ms`);
    }
  } finally {
    client.close();
    await opened.close();
    await rm(folder, { recursive: true, force: true });
  }
  const ascending = [...outagesMs].sort((left, right) => left - right);
  return {
    crashes,
    outageP50Ms: ascending[Math.floor(ascending.length / 2)],
    outageMaxMs: ascending.at(-1),
    raw: { outagesMs, loadAverage: loadavg() },
  };
}
