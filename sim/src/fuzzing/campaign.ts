import { fork } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SimulationError } from '../fleet/errors.js';
import { MAX_FINDINGS, type FromChild, type Share } from './messages.js';

export interface CampaignOptions {
  readonly table: string;
  readonly target: string;
  readonly seed: number;
  /** First case; 0 unless one is repeated. */
  readonly from: number;
  readonly forMs: number;
  readonly memoryMiB: number;
  /** Processor time of one case. */
  readonly maxCpuMs: number;
  /** Wall time after which a case that does not end is ended with its process. */
  readonly hangMs: number;
  readonly signal: AbortSignal;
}

export interface CampaignFinding {
  readonly kind: 'crash' | 'hang' | 'over-memory';
  readonly target: string;
  readonly index: number;
  readonly what: string;
}

export interface CampaignResult {
  readonly cases: number;
  readonly findings: readonly CampaignFinding[];
}

const LOOK_MS = 250;

/** Fuzzes one target in child processes: each ends with its time, or at a case that it does not survive; the next goes on behind that case. */
export async function fuzzTarget(options: CampaignOptions): Promise<CampaignResult> {
  const folder = mkdtempSync(join(tmpdir(), 'drover-fuzz-'));
  const findings: CampaignFinding[] = [];
  const endsAtMs = performance.now() + options.forMs;
  let next = options.from;
  try {
    while (!options.signal.aborted && performance.now() < endsAtMs && findings.length < MAX_FINDINGS) {
      const { table, target, seed, memoryMiB, maxCpuMs } = options;
      const heartbeatFile = join(folder, 'heartbeat');
      const forMs = endsAtMs - performance.now();
      const share: Share = { table, target, seed, from: next, forMs, memoryMiB, maxCpuMs, heartbeatFile };
      next = await runChild(share, options, (finding) => findings.push({ ...finding, target }));
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  return { cases: next - options.from, findings };
}

type Report = (finding: Omit<CampaignFinding, 'target'>) => void;

/** @returns index of the case to go on with */
function runChild(share: Share, { hangMs, signal }: CampaignOptions, report: Report): Promise<number> {
  // Half of the bound for what V8 collects: it lets garbage pile up as far as it may.
  const heapMiB = Math.max(64, Math.floor(share.memoryMiB / 2));
  const child = fork(fileURLToPath(new URL(`./child${extname(import.meta.url)}`, import.meta.url)), {
    // The tables are tests of their workspaces, in TypeScript.
    execArgv: ['--import', 'tsx', `--max-old-space-size=${heapMiB}`],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let next: number | undefined;
  let ended: 'hang' | undefined;
  let lastWords = '';
  let seen = { index: -1, atMs: performance.now() };
  child.stderr?.on('data', (text: Buffer) => {
    lastWords = (lastWords + text.toString('utf8')).slice(-4_000);
  });
  child.on('message', (message: FromChild) => {
    if (message.kind === 'done') next = message.next;
    else if (message.kind === 'finding') report({ ...message.finding, index: message.index });
    else report({ kind: 'over-memory', index: message.index, what: `${Math.round(message.peakMiB)} MiB` });
  });
  const watch = setInterval(() => {
    const index = readHeartbeat(share.heartbeatFile);
    if (index !== seen.index) seen = { index, atMs: performance.now() };
    else if (index >= share.from && performance.now() - seen.atMs > hangMs) {
      ended = 'hang';
      child.kill('SIGKILL');
    }
  }, LOOK_MS);
  const onAbort = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', onAbort, { once: true });
  child.send(share);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, killedBy) => {
      clearInterval(watch);
      signal.removeEventListener('abort', onAbort);
      const index = readHeartbeat(share.heartbeatFile);
      if (next !== undefined || signal.aborted) {
        resolve(next ?? Math.max(index, share.from));
        return;
      }
      if (index < share.from || code === 3) {
        reject(childFailed(share.target, lastWords));
        return;
      }
      const isHeapFull =
        lastWords.includes('heap out of memory') || lastWords.includes('Array buffer allocation failed');
      const kind = ended ?? (isHeapFull ? 'over-memory' : 'crash');
      const what = ended
        ? `no end within ${hangMs} ms`
        : `the process ended (${String(killedBy ?? code)}): ${firstLine(lastWords)}`;
      report({ kind, index, what });
      resolve(index + 1);
    });
  });
}

const firstLine = (text: string): string => text.split('\n').find((line) => /error|fatal/i.test(line)) ?? '';

/** −1 before the first case. */
function readHeartbeat(file: string): number {
  try {
    const bytes = readFileSync(file);
    return bytes.length === 8 ? bytes.readDoubleLE() : -1;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return -1;
    throw error;
  }
}

const childFailed = (target: string, words: string) =>
  new SimulationError('PROCESS_NOT_READY', `The fuzzing of ${target} did not begin: ${words.slice(0, 1_000)}`, {
    remedy: 'Its valid documents must be accepted by its parser; `npm run build` if files are missing.',
  });
