import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { runDrover } from '../src/cli/program.js';

// The programs as they ship: compiled, in processes of their own.
const dist = (path: string) => fileURLToPath(new URL(`../dist/${path}`, import.meta.url));
export const ADMIN_TOKEN = 'a-token-for-tests-only';

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Neither the variables of whoever runs the tests nor their credentials. */
const cleanEnvironment = () =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('DROVER_')));

async function finished(child: ChildProcess): Promise<Ran> {
  const texts = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk: Buffer) => (texts.stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (texts.stderr += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...texts };
}

/** Runs the control plane until it ends by itself: for starts that must fail. */
export const runControlPlane = (args: readonly string[], environment: Record<string, string>): Promise<Ran> =>
  finished(spawn(process.execPath, [dist('main.js'), ...args], { env: { ...cleanEnvironment(), ...environment } }));

export interface RunningControlPlane {
  readonly httpUrl: string;
  readonly mqttUrl: string;
  readonly directory: string;
  /** In this process, which is much faster: the same code behind `main`. */
  drover(args: readonly string[], environment?: Record<string, string>): Promise<Ran>;
  /** As a process of its own. */
  droverProcess(args: readonly string[]): Promise<Ran>;
  /** Runs with --json and parses the answer; throws if the command fails. */
  droverJson<Answer>(...args: string[]): Promise<Answer>;
  /** Exit code after SIGTERM. */
  stop(): Promise<number | null>;
}

/** A control plane on free ports with an empty data directory, and the command line logged in to it. */
export async function startControlPlaneProcess(): Promise<RunningControlPlane> {
  const directory = mkdtempSync(join(tmpdir(), 'drover-process-'));
  const child = spawn(process.execPath, [dist('main.js'), '--json-ready'], {
    env: {
      ...cleanEnvironment(),
      DROVER_DATA_DIR: join(directory, 'data'),
      DROVER_HTTP_PORT: '0',
      DROVER_MQTT_PORT: '0',
      DROVER_ADMIN_TOKEN: ADMIN_TOKEN,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const ready = JSON.parse(line) as { event: string; httpUrl: string; mqttUrl: string };
  const withOwnConfiguration = (environment: Record<string, string>) => ({
    XDG_CONFIG_HOME: join(directory, 'config'),
    ...environment,
  });
  const drover = async (args: readonly string[], environment: Record<string, string> = {}): Promise<Ran> => {
    const out: string[] = [];
    const err: string[] = [];
    const code = await runDrover(
      args,
      {
        environment: withOwnConfiguration(environment),
        homeDirectory: directory,
        interactive: false,
        interrupted: new AbortController().signal,
        out: (text) => void out.push(`${text}\n`),
        err: (text) => void err.push(`${text}\n`),
        ask: () => Promise.reject(new Error('nobody is here to be asked')),
        askSecret: () => Promise.reject(new Error('nobody is here to be asked')),
        sleep: () => Promise.resolve(),
      },
      '0.0.0-test',
    );
    return { code, stdout: out.join(''), stderr: err.join('') };
  };
  return {
    ...ready,
    directory,
    drover,
    droverProcess: (args) =>
      finished(
        spawn(process.execPath, [dist('cli/main.js'), ...args], {
          cwd: directory,
          env: { ...cleanEnvironment(), ...withOwnConfiguration({}) },
          stdio: ['ignore', 'pipe', 'pipe'],
        }),
      ),
    async droverJson<Answer>(...args: string[]) {
      const { code, stdout, stderr } = await drover([...args, '--json']);
      if (code !== 0) throw new Error(`drover ${args.join(' ')} ended with ${code ?? 'a signal'}: ${stdout}${stderr}`);
      return JSON.parse(stdout) as Answer;
    },
    async stop() {
      child.kill('SIGTERM');
      const [code] = child.exitCode === null ? ((await once(child, 'exit')) as [number | null]) : [child.exitCode];
      rmSync(directory, { recursive: true, force: true });
      return code;
    },
  };
}
