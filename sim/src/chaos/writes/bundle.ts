import { mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ROOT = join(fileURLToPath(import.meta.resolve('@drover/sim/package.json')), '..', '..');
/** tsc rewrites them whenever it has written anything. */
const BUILT = ['shared', 'agent', 'control-plane', 'sim'].map((name) => join(ROOT, name, 'dist', '.tsbuildinfo'));

export interface BundleOptions {
  /** As tsc has written it; relative to the repository. */
  readonly entry: string;
  readonly outfile: string;
  /** Packages that are loaded as they are, beside those with native code. */
  readonly external?: readonly string[];
}

/**
 * A program with all that it needs in one file: a process that loads a thousand modules one by one takes five times as long to start, and a campaign
 * starts ten thousand. Made anew when the sources were built since.
 *
 * @returns its absolute path
 */
export async function bundled({ entry, outfile, external = [] }: BundleOptions): Promise<string> {
  const bundle = join(ROOT, outfile);
  const builtMs = Math.max(...BUILT.map((file) => statSync(file).mtimeMs));
  if ((statSync(bundle, { throwIfNoEntry: false })?.mtimeMs ?? 0) > builtMs) return bundle;
  const { outputFiles } = await build({
    absWorkingDir: ROOT,
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    // Kill points are named by functions.
    keepNames: true,
    legalComments: 'none',
    logLevel: 'error',
    external: ['better-sqlite3', 'onnxruntime-node', ...external],
    banner: { js: COMMONJS_NAMES },
  });
  // Whoever starts a campaign beside this one finds a whole file.
  const temporary = `${bundle}.${process.pid}`;
  mkdirSync(dirname(bundle), { recursive: true });
  writeFileSync(temporary, Buffer.concat(outputFiles.map(({ contents }) => contents)));
  renameSync(temporary, bundle);
  return bundle;
}

/** CommonJS packages ask for these, which an ES module has not. On one line, so that each module's code stays below the comment that names it. */
const COMMONJS_NAMES = [
  "import { createRequire as createBundleRequire } from 'node:module'",
  "import { fileURLToPath as bundlePath } from 'node:url'",
  'const require = createBundleRequire(import.meta.url)',
  'const __filename = bundlePath(import.meta.url)',
  "const __dirname = bundlePath(new URL('.', import.meta.url))",
].join('; ');
