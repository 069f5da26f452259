import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

export const SYSTEMD_FOLDER = fileURLToPath(new URL('../../systemd', import.meta.url));
const BUILT_LAUNCHER = fileURLToPath(
  new URL('../../../agent/dist/bundled-launcher/launcher-main.mjs', import.meta.url),
);
export const INSTALLER = join(SYSTEMD_FOLDER, 'install.sh');

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Ended {
  const ended = spawnSync(command, args, { encoding: 'utf8', env: { ...process.env, ...env }, stdio: 'pipe' });
  if (ended.error) throw ended.error;
  return ended;
}

/** For tests of a tool that not every machine has; the runner then lists the test as skipped. */
export const isInstalled = (tool: string): boolean => run('sh', ['-c', 'command -v "$1"', 'sh', tool]).status === 0;

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'drover-firmware-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function write(file: string, content: string): string {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  return file;
}

/** Every file and link under a folder, relative and sorted. */
export const filesUnder = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();

interface BundleFacts {
  readonly version: string;
  readonly arch: string;
  readonly nodeAbi: string;
}

/** A bundle as bundle.mjs makes it, but with a program of three lines in place of the agent and its 50 MiB of modules. */
export function smallBundle(
  folder: string,
  changes: Partial<BundleFacts> & { readonly program?: string } = {},
): string {
  const facts: BundleFacts = { version: '1.0.0', arch: process.arch, nodeAbi: process.versions.modules, ...changes };
  const name = `drover-agent-${facts.version}`;
  const staging = join(folder, `staging-${facts.version}`);
  const inside = join(staging, name);
  write(
    join(inside, 'BUNDLE'),
    `version=${facts.version}\nos=linux\narch=${facts.arch}\nnodeAbi=${facts.nodeAbi}\ninstallMiB=1\n`,
  );
  write(join(inside, 'agent/dist/bundled/main.js'), changes.program ?? `console.log('agent ${facts.version}');\n`);
  for (const [from, to] of [
    [join(SYSTEMD_FOLDER, 'drover-agent.sh'), 'bin/drover-agent'],
    [join(SYSTEMD_FOLDER, 'drover-launcher.sh'), 'launcher/drover-agent'],
    [BUILT_LAUNCHER, 'launcher/launcher-main.mjs'],
  ] as const) {
    mkdirSync(dirname(join(inside, to)), { recursive: true });
    cpSync(from, join(inside, to));
  }
  cpSync(join(SYSTEMD_FOLDER, 'drover-agent.service'), join(inside, 'systemd/drover-agent.service'));
  const lines = filesUnder(inside).map((path) => {
    const bytes = readFileSync(join(inside, path));
    return `${createHash('sha256').update(bytes).digest('hex')} ${bytes.length} ${path}\n`;
  });
  write(join(inside, 'FILES'), `${lines.join('')}total ${lines.length}\n`);
  const file = join(folder, `${name}.tar.gz`);
  const tar = run('tar', ['-czf', file, '-C', staging, name]);
  if (tar.status !== 0) throw new Error(tar.stderr);
  rmSync(staging, { recursive: true });
  return file;
}

export const sha256Of = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

/** Runs the installer against a folder in place of the root, so it touches nothing of this machine. */
export const stage = (root: string, ...args: string[]): Ended =>
  run('sh', [INSTALLER, ...args, '--root', root], { DROVER_TOKEN: '' });

/** What is installed under `root`, as a terminal or systemd starts it. */
export const installedAgent = (root: string, ...args: string[]): Ended =>
  run(join(root, 'opt/drover/launcher/drover-agent'), args, {
    DROVER_LAUNCHER_STATE: join(root, 'var/lib/drover/agent'),
  });
