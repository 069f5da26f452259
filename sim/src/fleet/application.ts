import type { ModelName } from '@drover/shared/ids';
import { SimulationError } from './errors.js';

/** A batch of sensor rows with the truth that becomes known later. `features` is row-major, count × width. */
export interface SensorBatch {
  readonly features: Float32Array;
  readonly labels: Int32Array;
  readonly count: number;
  readonly width: number;
}

export interface ApplicationOptions {
  /** Where the agent serves the Open Inference Protocol. Asked for every request: a restarted agent may have moved. */
  readonly endpoint: () => string;
  readonly model: ModelName;
  readonly inputName: string;
  readonly scoresName: string;
  readonly intervalMs: number;
  readonly next: () => SensorBatch;
  /** Whether the truth of a request becomes known, and is sent back as feedback. */
  readonly labelled: boolean;
}

export interface ApplicationCounts {
  requests: number;
  /** After the first answer: before it there is no model to ask. */
  failures: number;
  rows: number;
  correct: number;
  lastFailure?: string;
}

/** An application beside the agent: asks the model about its sensors, and sends the truth when it knows it. */
export interface Application {
  readonly counts: ApplicationCounts;
  stop(): Promise<void>;
}

export function startApplication(options: ApplicationOptions): Application {
  const counts: ApplicationCounts = { requests: 0, failures: 0, rows: 0, correct: 0 };
  const stopped = new AbortController();
  const loop = (async () => {
    while (!stopped.signal.aborted) {
      const startedAt = performance.now();
      try {
        await ask(options, counts);
      } catch (error) {
        if (counts.requests > 0) counts.failures += 1;
        counts.lastFailure = error instanceof Error ? error.message : String(error);
      }
      await pause(options.intervalMs - (performance.now() - startedAt), stopped.signal);
    }
  })();
  return {
    counts,
    async stop() {
      stopped.abort();
      await loop;
    },
  };
}

async function ask(options: ApplicationOptions, counts: ApplicationCounts): Promise<void> {
  const batch = options.next();
  const base = `${options.endpoint()}/v2/models/${options.model}`;
  const answer = await post<{ id: string; outputs: { name: string; shape: number[]; data: number[] }[] }>(
    `${base}/infer`,
    {
      inputs: [
        {
          name: options.inputName,
          shape: [batch.count, batch.width],
          datatype: 'FP32',
          data: Array.from(batch.features),
        },
      ],
    },
  );
  counts.requests += 1;
  const scores = answer.outputs.find(({ name }) => name === options.scoresName);
  if (!scores) throw refusal(`the answer has no output ${options.scoresName}`);
  const classes = scores.data.length / batch.count;
  for (let row = 0; row < batch.count; row++) {
    const rowScores = scores.data.slice(row * classes, (row + 1) * classes);
    counts.rows += 1;
    if (rowScores.indexOf(Math.max(...rowScores)) === batch.labels[row]) counts.correct += 1;
  }
  if (options.labelled) await post(`${base}/feedback`, { id: answer.id, labels: Array.from(batch.labels) });
}

async function post<Answer>(url: string, body: unknown): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  const text = await response.text();
  if (!response.ok) throw refusal(`${response.status} ${text.slice(0, 200)}`);
  return JSON.parse(text === '' ? '{}' : text) as Answer;
}

const refusal = (why: string) =>
  new SimulationError('INFERENCE_REFUSED', `The agent did not answer an inference request: ${why}.`, {
    remedy: 'See `drover-agent status` on the device.',
  });

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, Math.max(0, ms));
    function done() {
      signal.removeEventListener('abort', done);
      clearTimeout(timer);
      resolve();
    }
    signal.addEventListener('abort', done, { once: true });
  });
}
