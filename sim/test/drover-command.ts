import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
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

export interface RepositoryOptions {
  /** Where the root is exported to, as `root.json`. */
  readonly folder: string;
  /** File of the one key that signs everything; made here. */
  readonly key: string;
  /** Models, and whatever else is delegated by name. */
  readonly families: readonly string[];
}

/** The ceremony of a repository with one unencrypted key. @returns the root that devices are to pin */
export async function openRepository(
  drover: (...args: string[]) => Promise<unknown>,
  { folder, key, families }: RepositoryOptions,
): Promise<Buffer> {
  const signed = ['--key', key, '--publish'];
  const root = join(folder, 'root.json');
  await drover('keys', 'create', '--out', key, '--development');
  await drover('keys', 'init', '--root-key', key, '--targets-key', key, ...signed);
  for (const family of families) await drover('keys', 'delegate', family, '--model-key', key, ...signed);
  await drover('keys', 'export', root);
  return readFileSync(root);
}
