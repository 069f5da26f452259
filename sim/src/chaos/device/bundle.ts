import { renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const SIM = join(fileURLToPath(import.meta.resolve('@drover/sim/package.json')), '..');
const ENTRY = join(SIM, 'dist/chaos/device/life.js');
const BUNDLE = join(SIM, 'dist/chaos/device/life.bundled.mjs');
/** tsc rewrites them whenever it has written anything. */
const BUILT = ['shared', 'agent', 'sim'].map((workspace) => join(SIM, '..', workspace, 'dist', '.tsbuildinfo'));

/**
 * The life of a device with all that it needs in one file: a process that loads a thousand modules one by one takes five times as long to start, and
 * a campaign starts ten thousand. Made anew when the sources were built since.
 *
 * @returns its absolute path
 */
export async function bundledLife(): Promise<string> {
  const builtMs = Math.max(...BUILT.map((file) => statSync(file).mtimeMs));
  if ((statSync(BUNDLE, { throwIfNoEntry: false })?.mtimeMs ?? 0) > builtMs) return BUNDLE;
  const { outputFiles } = await build({
    absWorkingDir: join(SIM, '..'),
    entryPoints: [ENTRY],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    // Kill points are named by functions.
    keepNames: true,
    legalComments: 'none',
    external: ['better-sqlite3', 'onnxruntime-node'],
    // CommonJS packages ask for Node's own modules by `require`, which an ES module has not.
    banner: {
      js: "import { createRequire as createBundleRequire } from 'node:module'; const require = createBundleRequire(import.meta.url);",
    },
  });
  // Whoever starts a campaign beside this one finds a whole file.
  const temporary = `${BUNDLE}.${process.pid}`;
  writeFileSync(temporary, Buffer.concat(outputFiles.map(({ contents }) => contents)));
  renameSync(temporary, BUNDLE);
  return BUNDLE;
}
