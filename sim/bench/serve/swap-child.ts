import { Agent, request } from 'node:http';
import { seededInput } from './models.js';

// Four connections of a client that goes on asking until it is told to stop, and notes every answer.

export interface SwapLoad {
  readonly port: number;
  readonly model: string;
  readonly input: string;
  readonly shape: readonly number[];
  readonly seed: number;
  readonly connections: number;
}

export interface SwapSeen {
  readonly requests: number;
  readonly failed: number;
  /** Answers that were not for the request that was sent. */
  readonly outOfOrder: number;
  readonly versions: readonly string[];
  readonly p99Ms: number;
  readonly maxMs: number;
}

let seen = { requests: 0, failed: 0, outOfOrder: 0, versions: new Set<string>(), latencies: [] as number[] };
let send: ((connection: number, id: string) => Promise<{ id: string; version: string }>) | undefined;

async function connection(index: number): Promise<void> {
  for (let sent = 0; ; sent++) {
    const id = `${index}-${sent}`;
    const beforeMs = performance.now();
    try {
      const answer = await send?.(index, id);
      if (answer?.id !== id) seen.outOfOrder += 1;
      if (answer) seen.versions.add(answer.version);
    } catch {
      seen.failed += 1;
    }
    seen.requests += 1;
    seen.latencies.push(performance.now() - beforeMs);
  }
}

/** First the load; then, to each question, what was seen since `begin` was asked last. */
process.on('message', (message: SwapLoad | { readonly kind: 'look' | 'begin' }) => {
  if (!('kind' in message)) {
    send = sender(message);
    for (let index = 0; index < message.connections; index++) void connection(index);
    process.send?.({});
    return;
  }
  const { versions, ...counts } = seen;
  const latencies = [...seen.latencies].sort((left, right) => left - right);
  const { requests, failed, outOfOrder } = counts;
  const answer: SwapSeen = {
    requests,
    failed,
    outOfOrder,
    versions: [...versions],
    p99Ms: latencies[Math.floor(0.99 * latencies.length)] ?? NaN,
    maxMs: latencies.at(-1) ?? NaN,
  };
  if (message.kind === 'begin') seen = { requests: 0, failed: 0, outOfOrder: 0, versions: new Set(), latencies: [] };
  process.send?.(answer);
});

function sender({ port, model, input, shape, seed, connections }: SwapLoad): NonNullable<typeof send> {
  const bytes = Buffer.from(
    seededInput(
      shape.reduce((product, axis) => product * axis, 1),
      1,
      seed,
    ).buffer,
  );
  const agents = Array.from({ length: connections }, () => new Agent({ keepAlive: true, maxSockets: 1 }));
  const path = `/v2/models/${model}/infer`;
  return (index, id) =>
    new Promise((resolve, reject) => {
      const inputs = [{ name: input, datatype: 'FP32', shape, parameters: { binary_data_size: bytes.length } }];
      const head = Buffer.from(JSON.stringify({ id, inputs, parameters: { binary_data_output: true } }));
      const headers = { 'content-length': head.length + bytes.length, 'inference-header-content-length': head.length };
      const sent = request({ port, path, method: 'POST', headers, agent: agents[index] ?? false }, (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('end', () => {
          if (response.statusCode !== 200) {
            reject(new Error(`status ${response.statusCode ?? 0}`));
            return;
          }
          const length = Number(response.headers['inference-header-content-length']);
          const json = JSON.parse(Buffer.concat(parts).toString('utf8', 0, length)) as Record<string, string>;
          resolve({ id: json['id'] ?? '', version: json['model_version'] ?? '' });
        });
      });
      sent.on('error', reject);
      sent.write(head);
      sent.end(bytes);
    });
}
process.once('disconnect', () => process.exit(0));
