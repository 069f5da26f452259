import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface Played {
  readonly status: number | null;
  readonly result: {
    readonly ok: boolean;
    readonly steps: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[];
  };
  readonly output: string;
}

/** Plays the story as a user does: the command in a process of its own, judged by its exit status and its last line. */
export function play(...args: string[]): Promise<Played> {
  const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
  const child = spawn(process.execPath, [main, 'story', '--once', '--json', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => {
      const last = output.trimEnd().split('\n').at(-1) ?? '';
      if (!last.startsWith('{'))
        reject(new Error(`The last line is no JSON (status ${String(status)}):\n${output.slice(-3000)}`));
      else resolve({ status, result: JSON.parse(last) as Played['result'], output });
    });
  });
}
