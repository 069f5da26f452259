import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { ControlPlaneProcess } from '../src/fleet/control-plane-process.js';

const CLI = fileURLToPath(new URL('../../control-plane/dist/cli/main.js', import.meta.url));
const run = promisify(execFile);
const MAX_OUTPUT_BYTES = 64 * 1024 ** 2;

export interface DroverOptions {
  readonly environment: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** What `drover` writes to its standard output. Rejects where its exit status is not 0, with `code`, `stdout` and `stderr`. */
export async function runDrover(args: readonly string[], { environment, cwd }: DroverOptions): Promise<string> {
  const env = { PATH: process.env['PATH'] ?? '', ...environment };
  const { stdout } = await run(process.execPath, [CLI, ...args], { env, cwd, maxBuffer: MAX_OUTPUT_BYTES });
  return stdout;
}

/** For somebody who is logged in as an administrator. */
export const administratorOf = ({ httpUrl, adminToken }: ControlPlaneProcess): Readonly<Record<string, string>> => ({
  DROVER_URL: httpUrl,
  DROVER_TOKEN: adminToken,
});
