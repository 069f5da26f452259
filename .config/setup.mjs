// The first run from a fresh clone: installs and builds what is missing, then returns at once when nothing changed.
// Plain Node without dependencies, because it runs before there are any. `--build` also compiles; `--quiet` says nothing when all is done.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stampFile = join(root, 'node_modules', '.cache', 'drover-setup.json');
const quiet = process.argv.includes('--quiet');
const say = (text) => process.stderr.write(`[setup] ${text}\n`);

/** node-gyp needs Node's headers when better-sqlite3's prebuilt binary cannot be fetched; most installations carry them beside `node`. */
function headersBesideNode() {
  const prefix = dirname(dirname(process.execPath));
  return existsSync(join(prefix, 'include', 'node', 'node.h')) ? prefix : undefined;
}

/**
 * Node 24.19's node_object_wrap.h removes a cleanup hook where garbage collection may have no environment, which aborts the process: every addon
 * that was compiled against it, better-sqlite3 12 among them, crashes sooner or later (nodejs/node#65446). Addons that were compiled without those
 * two calls run well on the same Node, so we compile against a copy of the headers without them. Removed again after the installation.
 */
function soundHeaders(prefix) {
  if (prefix === undefined || major !== 24) return prefix;
  const name = join('include', 'node', 'node_object_wrap.h');
  const header = readFileSync(join(prefix, name), 'utf8');
  const sound = header.replace(/^\s*(Add|Remove)CleanupHook\(\);$/gm, '');
  if (sound === header) return prefix;
  const copy = mkdtempSync(join(tmpdir(), 'drover-node-headers-'));
  process.once('exit', () => rmSync(copy, { recursive: true, force: true }));
  cpSync(join(prefix, 'include', 'node'), join(copy, 'include', 'node'), { recursive: true, dereference: true });
  writeFileSync(join(copy, name), sound);
  return copy;
}

function run(command, args, env = {}) {
  // stdout belongs to the command that the user asked for (`npm start -- --json`); ours goes to stderr.
  const result = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2], env: { ...process.env, ...env } });
  if (result.error) throw result.error;
  return result.status ?? 1;
}

function fail(what, remedy) {
  say(`${what}\n        ${remedy}`);
  process.exit(1);
}

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  fail(`Node ${process.versions.node} is too old.`, 'Install Node 20.19 or later, 22 or 24, then run this again.');
}

const lockfile = readFileSync(join(root, 'package-lock.json'));
const wanted = createHash('sha256').update(lockfile).update(process.version).digest('hex');
const installed = existsSync(stampFile) ? JSON.parse(readFileSync(stampFile, 'utf8')).installed : undefined;

if (installed !== wanted) {
  say('installing dependencies (once; a minute or two) …');
  const nodedir = soundHeaders(headersBesideNode());
  // The npm that runs this script, where one does; it need not be the first on the PATH.
  const npm = process.env.npm_execpath;
  const [command, first] = npm?.endsWith('.js') ? [process.execPath, [npm]] : ['npm', []];
  const status = run(
    command,
    [...first, 'ci', '--no-fund', '--no-audit', '--loglevel=error'],
    nodedir ? { npm_config_nodedir: nodedir } : {},
  );
  if (status !== 0) {
    fail(
      `npm ci ended with status ${status}.`,
      'Read the lines above. better-sqlite3 compiles where no prebuilt binary can be fetched: that needs python3, make and g++.',
    );
  }
  mkdirSync(dirname(stampFile), { recursive: true });
  writeFileSync(stampFile, JSON.stringify({ installed: wanted }));
}

if (process.argv.includes('--build')) {
  if (!quiet) say('building …');
  const status = run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '--build']);
  if (status !== 0) fail('The build failed.', 'Mend the errors above, then run this again.');
  // Loaded here, because it needs what was installed above.
  const { bundleAgent } = await import('./bundle-agent.mjs');
  await bundleAgent();
}
