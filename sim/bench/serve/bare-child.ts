import { InferenceSession, Tensor } from '@drover/agent/onnxruntime';
import { summary } from './children.js';
import { seededInput } from './models.js';

// Serial `session.run` with the runtime's defaults, and nothing around it.

interface Question {
  readonly modelFile: string;
  readonly forMs: number;
  readonly input: string;
  readonly shape: readonly number[];
  readonly range: number;
  readonly seed: number;
}

let opened: { readonly file: string; readonly session: InferenceSession } | undefined;

process.on('message', ({ modelFile, forMs, input, shape, range, seed }: Question) => {
  void (async () => {
    if (opened?.file !== modelFile) {
      await opened?.session.release();
      opened = { file: modelFile, session: await InferenceSession.create(modelFile, { logSeverityLevel: 3 }) };
    }
    const { session } = opened;
    const values = seededInput(
      shape.reduce((product, axis) => product * axis, 1),
      range,
      seed,
    );
    const feeds = { [input]: new Tensor('float32', values, shape) };
    for (let warm = 0; warm < 20; warm++) await session.run(feeds);
    const latencies: number[] = [];
    const startedMs = performance.now();
    while (performance.now() - startedMs < forMs) {
      const beforeMs = performance.now();
      await session.run(feeds);
      latencies.push(performance.now() - beforeMs);
    }
    process.send?.(summary(latencies, performance.now() - startedMs));
  })();
});

process.once('disconnect', () => process.exit(0));
