import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { playStory } from '../src/scenarios/release-story/story.js';

interface Bench {
  readonly seed: number;
  readonly quick: boolean;
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
}

const STARTS = 5;
const median = (values: number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

const rssMiB = (pid: number): number => {
  const match = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Math.round((Number(match?.[1]) / 1024) * 10) / 10;
};

/** Direct children, by the parent's pid in /proc/PID/stat (proc(5), field 4). */
function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent;
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** A bundle as it is installed on a device, in MiB. */
function installMiB(): number {
  const out = mkdtempSync(join(tmpdir(), 'drover-footprint-'));
  try {
    const bundler = new URL('../../firmware-images/systemd/bundle.mjs', import.meta.url).pathname;
    const printed = execFileSync(process.execPath, [bundler, '--out', out, '--json'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    return (JSON.parse(printed.trim().split('\n').at(-1) ?? '{}') as { installMiB: number }).installMiB;
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

/** An enrolled, connected agent process that serves one release: resident memory, time to ready, size on disk. */
export default async function footprint({ seed, quick, signal, progress }: Bench) {
  const story = await playStory({
    seed,
    devices: 0,
    only: [1, 2, 3, 4],
    httpPort: 0,
    mqttPort: 0,
    signal,
    say: progress,
  });
  try {
    const { agent } = story;
    if (!story.result.ok || !agent) throw new Error('The agent could not be brought to serve a release.');
    await story.quiet();
    const starts: number[] = [];
    for (let start = 0; start < STARTS; start++) {
      await agent.kill();
      const startedMs = performance.now();
      await agent.start();
      starts.push(Math.round(performance.now() - startedMs));
    }
    const settleMs = quick ? 30_000 : 300_000;
    progress(`reading memory ${settleMs / 1000} s after the start`);
    await delay(settleMs, undefined, { signal });
    const supervisor = agent.pid();
    const [inference] = childrenOf(supervisor);
    return {
      supervisorRssMiB: rssMiB(supervisor),
      inferenceRssMiB: inference === undefined ? null : rssMiB(inference),
      startMs: median(starts),
      installMiB: installMiB(),
      raw: { starts },
    };
  } finally {
    await story.close();
  }
}
