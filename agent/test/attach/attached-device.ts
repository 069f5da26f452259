import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Value } from 'typebox/value';
import { AttachedServing, type AttachedServingOptions } from '../../src/attach/index.js';
import { AttachedModel } from '../../src/config/attached-model.js';
import { systemClock } from '../../src/host/index.js';
import { until } from '../supervisor/agent-bench.js';
import { memoryRecorder, type MemoryRecorder } from '../serve/memory-recorder.js';

const APPLICATION = new URL('application.mjs', import.meta.url).pathname;

/** A process of `application.mjs`. */
export interface Application {
  readonly child: ChildProcess;
  /** What it printed: each load, and each answer of the agent. */
  readonly lines: string[];
  /** It makes one observation. */
  observe(latencyMs: number): void;
  end(signal: NodeJS.Signals): Promise<void>;
}

/** What an attached model needs on one device: a path, a socket, the serving, and applications. */
export interface AttachedDevice {
  readonly folder: string;
  readonly path: string;
  readonly socket: string;
  readonly pidFile: string;
  readonly recorder: MemoryRecorder;
  readonly incidents: unknown[];
  /** Codes of the incidents. */
  codes(): unknown[];
  open(settings?: object, change?: Partial<AttachedServingOptions>): Promise<AttachedServing>;
  /** Resolves when it is connected; at once for one that says nothing. */
  start(behaviour?: 'honest' | 'mute' | 'stubborn' | 'deaf'): Promise<Application>;
  /** The digest file behind the link, as an application reads it. */
  linkedDigest(): string;
  close(): Promise<void>;
}

export function attachedDevice(): AttachedDevice {
  const folder = mkdtempSync(join(tmpdir(), 'drover-attach-'));
  const [path, socket, pidFile] = ['model', 'observe.sock', 'application.pid'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const opened: AttachedServing[] = [];
  const applications = new Set<Application>();
  const device: AttachedDevice = {
    folder,
    path,
    socket,
    pidFile,
    recorder: memoryRecorder(),
    incidents: [],
    codes: () => device.incidents.map((error) => (error as { code?: string }).code),
    async open(settings = { reload: { signal: 'SIGHUP', pidFile } }, change = {}) {
      const serving = await AttachedServing.open({
        models: { classifier: Value.Default(AttachedModel, { path, ...settings }) as AttachedModel },
        socket,
        maxObservationsPerSecond: 10_000,
        providers: ['cpu'],
        hardwareClass: 'generic',
        searchPath: process.env['PATH'] ?? '',
        clock: systemClock,
        recorder: device.recorder,
        onIncident: (error) => void device.incidents.push(error),
        ...change,
      });
      opened.push(serving);
      return serving;
    },
    async start(behaviour = 'honest') {
      const child = spawn(process.execPath, [APPLICATION, socket, path, behaviour, pidFile], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      const lines: string[] = [];
      createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
      const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
      const application: Application = {
        child,
        lines,
        observe: (latencyMs) => void child.stdin.write(`${latencyMs}\n`),
        async end(signal) {
          applications.delete(application);
          child.kill(signal);
          await exited;
        },
      };
      applications.add(application);
      if (behaviour !== 'mute') await until(() => lines.some((line) => line.includes('"welcome"')));
      return application;
    },
    linkedDigest: () => readFileSync(join(path, 'digest'), 'utf8').trim(),
    async close() {
      for (const application of applications) await application.end('SIGKILL');
      for (const serving of opened) await serving.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return device;
}
