import { spawn } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { bundled } from '../writes/bundle.js';
import type { LifeEvent, LifePlan } from './plan.js';

export interface LifeRecord {
  readonly events: readonly LifeEvent[];
  /** `ended`: did all its steps. `killed`: by its plan or by us. `died`: anything else, which no plan asked for. */
  readonly ending: 'ended' | 'killed' | 'died';
  /** What it wrote to its standard error. */
  readonly complaints: string;
}

export interface RunLifeOptions {
  /** SIGKILL from outside after this time. */
  readonly killAfterMs?: number;
  /** The life counts as hung after this time. */
  readonly timeoutMs?: number;
  /** In place of Node itself, for example strace with its arguments. */
  readonly wrapper?: readonly string[];
}

/** As it was built: a process needs JavaScript, wherever this module was loaded from. */
const MAIN = join(
  fileURLToPath(import.meta.resolve('@drover/sim/package.json')),
  '..',
  'dist/chaos/device/device-main.js',
);
const LIFE = { entry: 'sim/dist/chaos/device/life.js', outfile: 'sim/dist/chaos/bundled/life.mjs' };
const TIMEOUT_MS = 120_000;
const MAX_COMPLAINTS = 8_000;

/** Starts a process for one life of a device and reads what it tells until it is gone. */
export async function runLife(plan: LifePlan, options: RunLifeOptions = {}): Promise<LifeRecord> {
  const planFile = `${plan.device.dataDir}.plan.json`;
  await writeFile(planFile, JSON.stringify(plan));
  const words = [...(options.wrapper ?? []), process.execPath, MAIN, planFile, await bundled(LIFE)];
  const child = spawn(words[0] ?? process.execPath, words.slice(1), { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
  const events: LifeEvent[] = [];
  let complaints = '';
  const stderr = child.stderr as unknown as Readable;
  stderr.on('data', (chunk: Buffer) => (complaints = (complaints + chunk.toString()).slice(-MAX_COMPLAINTS)));
  const lines = createInterface({ input: child.stdio[3] as Readable });
  lines.on('line', (line) => events.push(JSON.parse(line) as LifeEvent));
  const our = { kill: false, timeout: false };
  const killAs = (why: keyof typeof our) => (): void => {
    our[why] = true;
    child.kill('SIGKILL');
  };
  const killer = options.killAfterMs === undefined ? undefined : setTimeout(killAs('kill'), options.killAfterMs);
  const hung = setTimeout(killAs('timeout'), options.timeoutMs ?? TIMEOUT_MS);
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, by) => resolve([status, by]));
  });
  clearTimeout(killer);
  clearTimeout(hung);
  await rm(planFile, { force: true });
  if (our.timeout) return { events, ending: 'died', complaints: `It hung for longer than its time.\n${complaints}` };
  const wasKilled = events.some(({ event }) => event === 'killed') || (our.kill && signal === 'SIGKILL');
  if (wasKilled) return { events, ending: 'killed', complaints };
  if (code === 0) return { events, ending: 'ended', complaints };
  return { events, ending: 'died', complaints: `Exit ${code ?? signal ?? '?'}.\n${complaints}` };
}
