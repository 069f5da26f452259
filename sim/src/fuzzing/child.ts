import { openSync, writeSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { caseOf, judgeCase, type FuzzTarget } from '@drover/shared/fuzzing';
import { MAX_FINDINGS, type FromChild, type Share } from './messages.js';

// The child of a campaign: runs the cases of one target until its time is over. It may crash, hang or be killed; the heartbeat file says at which
// case. Only memory and processor time of this process are measured, so it does nothing else.

const send = (message: FromChild): void => void process.send?.(message);

async function run({
  table,
  target: name,
  seed,
  from,
  forMs,
  memoryMiB,
  maxCpuMs,
  heartbeatFile,
}: Share): Promise<void> {
  const { targets } = (await import(pathToFileURL(table).href)) as { targets: readonly FuzzTarget[] };
  const target = targets.find((candidate) => candidate.name === name);
  if (!target) throw new Error(`${table} has no target ${name}`);
  for (const document of target.seeds()) await target.parse(document);
  const heartbeat = openSync(heartbeatFile, 'w');
  const beat = Buffer.alloc(8);
  const endsAtMs = performance.now() + forMs;
  let index = from;
  for (let findings = 0; performance.now() < endsAtMs && findings < MAX_FINDINGS; index += 1) {
    beat.writeDoubleLE(index);
    writeSync(heartbeat, beat, 0, 8, 0);
    const bytes = caseOf(target, seed, index);
    const finding = await judgeCase(target, bytes, { maxCpuMs });
    if (finding) {
      send({ kind: 'finding', index, finding });
      findings += 1;
    }
    const peakMiB = process.resourceUsage().maxRSS / 1024;
    if (peakMiB > memoryMiB) {
      // The peak of a process never sinks: a fresh one goes on behind this case.
      send({ kind: 'over-memory', index, peakMiB });
      index += 1;
      break;
    }
  }
  process.send?.({ kind: 'done', next: index } satisfies FromChild, () => process.exit(0));
}

process.once('message', (share: Share) => {
  run(share).catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(3);
  });
});
process.on('disconnect', () => process.exit(0));
