import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { FileReference } from '@drover/shared/manifest';
import { openBenchDevice, type Credential } from './bench-device.js';

/** Run as a process of its own by apply-memory.ts, which says in one argument what to apply. */
interface Task {
  readonly dataDir: string;
  readonly url: string;
  readonly credential: Credential;
  readonly reference: FileReference;
}

const statusMiB = (key: string): number =>
  Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024;

const { dataDir, url, credential, reference } = JSON.parse(process.argv[2] ?? '') as Task;
const { signal } = new AbortController();
const device = await openBenchDevice(dataDir, url, credential);
// An agent that idles has its code loaded, and has delivered nothing yet.
await delay(3_000);
const idleMiB = statusMiB('VmRSS');
// proc(5): 5 resets the peak of the resident set.
writeFileSync('/proc/self/clear_refs', '5');
const startMs = performance.now();
let last = performance.now();
const lags: number[] = [];
const ticking = setInterval(() => {
  lags.push(Math.max(0, performance.now() - last - 5));
  last = performance.now();
}, 5);
const { how } = await device.deliver(reference, signal);
await device.verify(reference, signal);
clearInterval(ticking);
lags.sort((left, right) => left - right);
process.stdout.write(
  JSON.stringify({
    idleMiB,
    peakMiB: statusMiB('VmHWM'),
    ms: performance.now() - startMs,
    how,
    lagP99Ms: lags[Math.floor(lags.length * 0.99)] ?? null,
  }),
);
process.exit(0);
