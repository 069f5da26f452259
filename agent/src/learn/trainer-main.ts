import { setPriority } from 'node:os';
import { toCodedErrorJson } from '@drover/shared/coded-error';
import { LearnError } from './errors.js';
import { fineTune } from './fine-tune.js';
import type { TrainerAnswer, TrainerJob } from './trainer-messages.js';

/** Main of the trainer process (docs/architecture.md, "Processes on the device"): takes one job over IPC, answers, ends. */
const parent = process.send?.bind(process);
if (!parent) {
  process.stderr.write('This program is started by drover-agent, with an IPC channel; it has no use by itself.\n');
  process.exit(64);
}
const stopped = new AbortController();
// The agent is gone: nobody waits for the result, and an orphan would go on heating the device.
process.once('disconnect', () => process.exit(1));
// Gone since before this line: the event came while the modules were loaded, and does not come again.
if (!process.connected) process.exit(1);
// The supervisor's terminal may signal the whole group; only the supervisor decides when training ends.
process.on('SIGINT', () => undefined);

process.once('message', (job: TrainerJob) => {
  void run(job).then((answer) => {
    parent(answer, undefined, undefined, () => process.exit(answer.kind === 'done' ? 0 : 1));
  });
});

async function run({ request, niceness, maxMemoryBytes }: TrainerJob): Promise<TrainerAnswer> {
  try {
    // Before ONNX Runtime starts threads: on Linux niceness is per thread, and new ones inherit it.
    setPriority(niceness);
    const result = await fineTune({
      request,
      signal: stopped.signal,
      onProgress: (progress) => {
        refuseOverLimit(maxMemoryBytes);
        parent?.({ kind: 'progress', ...progress } satisfies TrainerAnswer);
      },
    });
    return { kind: 'done', result };
  } catch (error) {
    return { kind: 'failed', error: toCodedErrorJson(error) };
  }
}

/** The limit of V8's heap does not count tensors, so resident memory is watched as well. */
function refuseOverLimit(maxMemoryBytes: number): void {
  const { rss } = process.memoryUsage();
  if (rss <= maxMemoryBytes) return;
  throw new LearnError(
    'LEARN_MEMORY_EXCEEDED',
    `The trainer uses ${rss} bytes of memory; its limit is ${maxMemoryBytes}.`,
    {
      remedy: 'Use smaller batches or fewer examples in the recipe, or allow the trainer more memory.',
    },
  );
}
