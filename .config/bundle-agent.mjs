// Bundles the agent's processes into agent/dist/bundled, flat, because a child is found as `./NAME.js` beside the module that starts it
// (agent/src/host/process-entry.ts). Why: docs/adr/0005-bundled-agent.md. Run by setup.mjs --build after tsc; does nothing when up to date.
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'agent', 'dist');
const outdir = join(dist, 'bundled');
const ENTRIES = {
  main: 'main.js',
  'inference-main': 'serve/process/inference-main.js',
  'probe-main': 'serve/process/probe-main.js',
  'observe-main': 'attach/observe/observe-main.js',
  'trainer-main': 'learn/trainer-main.js',
  'telemetry-worker': 'monitor/telemetry-worker.js',
  'lane-worker': 'serve/lanes/lane-worker.js',
  'session-worker': 'serve/session/session-worker.js',
};
/** What systemd starts: one file of its own that shares nothing with the agents that it starts (docs/adr/0010-agent-releases.md). */
const LAUNCHER = {
  source: join(dist, 'launcher', 'launcher-main.js'),
  built: join(dist, 'bundled-launcher', 'launcher-main.mjs'),
};
/** Native modules, which find their binaries beside their own files. firmware-images/systemd/bundle.mjs ships them whole. */
export const NOT_BUNDLED = ['better-sqlite3', 'onnxruntime-node'];

const changedMs = (file) => (existsSync(file) ? statSync(file).mtimeMs : Infinity);

/** tsc rewrites its build information whenever it has written anything. */
function isUpToDate() {
  const sources = [
    join(dist, '.tsbuildinfo'),
    join(root, 'shared', 'dist', '.tsbuildinfo'),
    join(root, 'package-lock.json'),
    fileURLToPath(import.meta.url),
  ];
  const built = [...Object.keys(ENTRIES).map((name) => join(outdir, `${name}.js`)), LAUNCHER.built];
  if (!built.every((file) => existsSync(file))) return false;
  return Math.max(...sources.map(changedMs)) < Math.min(...built.map(changedMs));
}

export async function bundleAgent() {
  if (isUpToDate()) return;
  const common = {
    absWorkingDir: root,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    // V8 keeps the text of every module that it has loaded. Identifiers stay: a stack trace from a device shall name functions.
    minifyWhitespace: true,
    minifySyntax: true,
    // Licences travel as files (bundle.mjs).
    legalComments: 'none',
  };
  await build({ ...common, entryPoints: [LAUNCHER.source], outfile: LAUNCHER.built });
  const { metafile } = await build({
    ...common,
    entryPoints: Object.fromEntries(Object.entries(ENTRIES).map(([name, file]) => [name, join(dist, file)])),
    outdir,
    // Splitting keeps what is imported lazily lazy, and shares what the processes have in common.
    splitting: true,
    chunkNames: '[name]-[hash]',
    external: NOT_BUNDLED,
    sourcemap: 'linked',
    sourcesContent: false,
    // CommonJS packages (mqtt, commander) ask for Node's own modules by `require`, which an ES module has not.
    banner: {
      js: "import { createRequire as createBundleRequire } from 'node:module'; const require = createBundleRequire(import.meta.url);",
    },
    metafile: true,
  });
  // Chunks of an earlier build have other names. They go last, so that whoever starts meanwhile finds a whole set.
  const written = new Set(Object.keys(metafile.outputs).map((file) => join(root, file)));
  for (const name of readdirSync(outdir)) if (!written.has(join(outdir, name))) rmSync(join(outdir, name));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bundleAgent();
