import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { readSlots, writeSlots, type SlotName, type Slots } from '../../src/launcher/slots.js';

const LAUNCHER = fileURLToPath(new URL('../../dist/bundled-launcher/launcher-main.mjs', import.meta.url));

/** What a small program in place of the agent begins with: it writes down that it was started, and can do what agents do. */
const PRELUDE = `
import { appendFileSync, readFileSync, writeFileSync, renameSync } from 'node:fs';
const { DROVER_LAUNCHER_STATE: state, DROVER_LAUNCHER_SLOT: slot } = process.env;
const file = state + '/slots.json';
const trace = (word) => appendFileSync(process.env.TRACE, slot.split('-')[0] + ' ' + word + '\\n');
const say = (word) => process.send(word, undefined, undefined, () => {});
const slots = () => JSON.parse(readFileSync(file, 'utf8'));
const write = (next) => { writeFileSync(file + '.agent', JSON.stringify(next)); renameSync(file + '.agent', file); };
const live = () => { setInterval(() => say('alive'), 50); };
const want = (candidate, commitWithinMs = 60000) => { write({ ...slots(), candidate: { slot: candidate, attempts: 0, commitWithinMs } }); process.exit(0); };
const commit = () => { const { candidate, committed, ...rest } = slots(); write({ ...rest, previous: committed, committed: slot }); trace('commits'); };
process.on('SIGTERM', () => { trace('stops'); process.exit(0); });
process.on('disconnect', () => process.exit(0));
trace('starts');
`;

/** Programs by what is wrong with them. */
export const PROGRAMS = {
  sound: `say('up'); live(); trace('is up');`,
  commits: `say('up'); live(); trace('is up'); if (slots().committed !== slot) commit();`,
  'exits at once': `process.exit(3);`,
  'crashes after it was up': `say('up'); live(); trace('is up'); setTimeout(() => process.kill(process.pid, 'SIGSEGV'), 50);`,
  hangs: `say('up'); trace('is up'); setTimeout(() => { for (;;); }, 50);`,
  'never reports': `setInterval(() => {}, 1000);`,
  'never commits': `say('up'); live(); trace('is up');`,
  'gives itself up': `say('up'); const { candidate, ...rest } = slots(); write({ ...rest, lastFailure: { slot, cause: 'given-up', detail: 'not fit', atMs: 1 } }); process.exit(0);`,
} as const;

/** An old agent that asks once for `candidate`, and from then on stays. */
export const asksFor = (candidate: SlotName, commitWithinMs = 60_000): string =>
  `const s = slots(); if (!s.lastFailure && !s.candidate && s.committed === slot) want(${JSON.stringify(candidate)}, ${commitWithinMs});
   say('up'); live(); trace('is up');`;

export interface Launched {
  readonly pid: number;
  readonly stderr: () => string;
  readonly ended: Promise<number | NodeJS.Signals>;
  stop(): Promise<number | NodeJS.Signals>;
  kill(): Promise<number | NodeJS.Signals>;
}

export interface LauncherDevice {
  readonly folder: string;
  readonly stateDir: string;
  readonly versionsDir: string;
  install(version: string, program: string, where?: 'factory' | 'delivered'): SlotName;
  folderOf(slot: SlotName): string;
  launch(options?: { readonly nodeFlags?: readonly string[]; readonly environment?: Record<string, string> }): Launched;
  slots(): Slots;
  write(slots: Slots): void;
  /** `VERSION starts`, `VERSION is up`, …, oldest first. */
  trace(): string[];
  untilTraced(line: string, times?: number): Promise<void>;
}

/** A device with the built launcher, real processes and small programs in place of agents. */
export function launcherDevice(): LauncherDevice {
  const folder = mkdtempSync(join(tmpdir(), 'drover-launcher-'));
  const running: Launched[] = [];
  onTestFinished(async () => {
    await Promise.all(running.map((launched) => launched.kill()));
    rmSync(folder, { recursive: true, force: true });
  });
  const versionsDir = join(folder, 'opt/versions');
  const stateDir = join(folder, 'state');
  const traceFile = join(folder, 'trace');
  mkdirSync(join(stateDir, 'versions'), { recursive: true });
  mkdirSync(versionsDir, { recursive: true });

  const folders = new Map<SlotName, string>();
  const trace = (): string[] => (existsSync(traceFile) ? readFileSync(traceFile, 'utf8').trimEnd().split('\n') : []);
  return {
    folder,
    stateDir,
    versionsDir,
    install(version, program, where = 'delivered') {
      const slot = `${version}-${createHash('sha256')
        .update(version + program)
        .digest('hex')
        .slice(0, 12)}` as SlotName;
      const target = join(where === 'factory' ? versionsDir : join(stateDir, 'versions'), slot);
      writeSlot(target, {
        'bin/drover-agent': 'exec "$DROVER_NODE" "$(dirname "$0")/../agent.mjs" "$@"\n',
        'agent.mjs': PRELUDE + program,
      });
      folders.set(slot, target);
      if (where === 'factory') {
        rmSync(join(versionsDir, 'factory'), { force: true });
        symlinkSync(slot, join(versionsDir, 'factory'));
      }
      return slot;
    },
    folderOf: (slot) => folders.get(slot) ?? '',
    launch({ nodeFlags = [], environment = {} } = {}) {
      const bounds = ['--up-within-ms', '1000', '--silent-after-ms', '400'];
      const args = [LAUNCHER, '--versions', versionsDir, '--state', stateDir, ...bounds, '--', 'run'];
      const child = spawn(process.execPath, [...nodeFlags, ...args], {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { PATH: process.env['PATH'], TRACE: traceFile, ...environment },
      });
      let stderr = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
      const ended = new Promise<number | NodeJS.Signals>((resolve) =>
        child.once('exit', (code, signal) => resolve(signal ?? code ?? -1)),
      );
      const send = (signal: NodeJS.Signals) => () => {
        child.kill(signal);
        return ended;
      };
      const launched = {
        pid: child.pid ?? 0,
        stderr: () => stderr,
        ended,
        stop: send('SIGTERM'),
        kill: send('SIGKILL'),
      };
      running.push(launched);
      return launched;
    },
    slots() {
      const slots = readSlots(stateDir);
      if (slots === undefined || slots === 'damaged') throw new Error(`slots.json is ${slots ?? 'not there'}`);
      return slots;
    },
    write: (slots) => writeSlots(stateDir, slots),
    trace,
    async untilTraced(line, times = 1) {
      for (const since = Date.now(); trace().filter((each) => each === line).length < times;) {
        if (Date.now() - since > 15_000) throw new Error(`"${line}" never came:\n${trace().join('\n')}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    },
  };
}

/** A slot as bundle.mjs makes it: files, and their list. */
export function writeSlot(target: string, files: Readonly<Record<string, string>>): void {
  const lines = Object.entries(files).map(([path, text]) => {
    mkdirSync(dirname(join(target, path)), { recursive: true });
    writeFileSync(join(target, path), text);
    return `${createHash('sha256').update(text).digest('hex')} ${Buffer.byteLength(text)} ${path}\n`;
  });
  writeFileSync(join(target, 'FILES'), `${lines.join('')}total ${lines.length}\n`);
}
