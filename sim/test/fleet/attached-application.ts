import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export interface AttachedApplicationOptions {
  readonly socket: string;
  readonly path: string;
  readonly model: string;
  readonly pidFile: string;
  /** Version that it cannot answer with. */
  readonly failing: string;
  /** Version after whose first answer its health check fails. */
  readonly sickening: string;
}

/** One line of `attached-application.mjs`. */
export interface Told {
  readonly event: 'listening' | 'loaded' | 'observed' | 'told';
  readonly version?: string;
  readonly digest?: string;
  readonly port?: number;
  /** Of an answer of the agent. */
  readonly type?: string;
  readonly code?: string;
}

/** A process of `attached-application.mjs`. */
export interface AttachedApplication {
  readonly told: readonly Told[];
  readonly healthUrl: string;
  ask(request: {
    readonly id: string;
    readonly rows: readonly (readonly number[])[];
    readonly labels?: readonly (number | string)[];
  }): void;
  stop(): Promise<void>;
}

/** Resolves when its health check can be asked; it connects to the agent by itself. */
export async function startAttachedApplication(options: AttachedApplicationOptions): Promise<AttachedApplication> {
  const script = fileURLToPath(new URL('attached-application.mjs', import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const told: Told[] = [];
  const port = await new Promise<number>((resolve, reject) => {
    child.once('exit', () => reject(new Error('the application ended before it listened')));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const one = JSON.parse(line) as Told;
      told.push(one);
      if (one.event === 'listening' && one.port !== undefined) resolve(one.port);
    });
  });
  return {
    told,
    healthUrl: `http://127.0.0.1:${port}/health`,
    ask: (request) => void child.stdin.write(`${JSON.stringify(request)}\n`),
    async stop() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
