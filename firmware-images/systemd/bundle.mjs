// Packs what a device needs to run the agent into one reproducible tar.gz with its digest beside it:
//   npm run build && node firmware-images/systemd/bundle.mjs [--out DIR] [--version X] [--workspace DIR] [--json]
// The same file installs a device (install.sh) and updates it (drover agent publish).
// A bundle holds native modules, so it fits the operating system, processor and Node.js ABI of the machine that made it; install.sh checks that.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { NOT_BUNDLED } from '../../.config/bundle-agent.mjs';
import { dependencyClosure, isLegalFile, isRunFile } from './dependency-closure.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const MIB = 1024 * 1024;
/** Old enough to be in no device's future, young enough that tar does not call it implausible. */
const MTIME_S = process.env.SOURCE_DATE_EPOCH ?? '946684800';

const VERSION = /^\d{1,9}\.\d{1,9}\.\d{1,9}[0-9A-Za-z.+-]{0,48}$/;

class BundleError extends Error {}

function* filesUnder(folder, all = false) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      // Nested node_modules are packages of their own in the lockfile, and come only if they are in the closure.
      if (all || (entry.name !== 'node_modules' && entry.name !== '.bin')) yield* filesUnder(path, all);
    } else if (entry.isFile()) yield path;
  }
}

/** What the launcher checks before it starts a slot (agent/src/launcher/slot-files.ts): lines `SHA-256 bytes path`, closed by `total N`. */
function fileList(folder) {
  const lines = [...filesUnder(folder, true)].sort().map((file) => {
    const bytes = readFileSync(file);
    return `${createHash('sha256').update(bytes).digest('hex')} ${bytes.length} ${relative(folder, file)}\n`;
  });
  return `${lines.join('')}total ${lines.length}\n`;
}

function copy(from, to) {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
  return statSync(to).size;
}

/** Copies those files of one package that `isWanted`, where Node.js finds them as in the workspace; returns their size in bytes. */
function copyPackage(workspace, path, staging, isWanted) {
  const source = join(workspace, path);
  let bytes = 0;
  for (const file of filesUnder(source)) {
    const inside = relative(source, file);
    if (isWanted(inside)) bytes += copy(file, join(staging, path, inside));
  }
  return bytes;
}

/** The agent as it was bundled, native packages whole, and of the packages whose code is in the bundle their licences. */
function copyAgent(workspace, packages, staging, target) {
  const whole = new Set(NOT_BUNDLED.flatMap((name) => dependencyClosure(packages, `node_modules/${name}`)));
  const isAgentFile = (inside) =>
    inside === 'package.json' || (inside.startsWith('dist/bundled/') && isRunFile('agent', inside, target));
  let bytes = copyPackage(workspace, 'agent', staging, isAgentFile);
  for (const path of dependencyClosure(packages, 'agent')) {
    if (!path.includes('node_modules/')) continue;
    const isWanted = whole.has(path) ? (inside) => isRunFile(path, inside, target) : isLegalFile;
    bytes += copyPackage(workspace, path, staging, isWanted);
  }
  return bytes;
}

function requireBuilt(workspace, target) {
  const needed = [
    ['agent/dist/bundled/main.js', 'Run npm run build first.'],
    ['agent/dist/bundled-launcher/launcher-main.mjs', 'Run npm run build first.'],
    [
      'node_modules/better-sqlite3/build/Release/better_sqlite3.node',
      'Run npm run setup first; it compiles where no prebuilt binary fits.',
    ],
    [
      `node_modules/onnxruntime-node/bin/napi-v6/${target.os}/${target.arch}/onnxruntime_binding.node`,
      'ONNX Runtime ships no binary for this platform: build it from source (docs/operations.md, "GPU").',
    ],
  ];
  for (const [file, remedy] of needed)
    if (!existsSync(join(workspace, file))) throw new BundleError(`${file} is missing. ${remedy}`);
}

function archive(staging, name) {
  const tar = spawnSync(
    'tar',
    [
      '--create',
      // Read on the device by a reader of ours that knows nothing else (agent/src/update).
      '--format=ustar',
      '--sort=name',
      `--mtime=@${MTIME_S}`,
      '--owner=0',
      '--group=0',
      '--numeric-owner',
      '--mode=u=rwX,go=rX',
      '-C',
      staging,
      name,
    ],
    { maxBuffer: 2 ** 31 - 1, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  if (tar.error) throw tar.error;
  if (tar.status !== 0) throw new BundleError(`tar ended with status ${tar.status}. GNU tar is needed.`);
  return gzipSync(tar.stdout);
}

function bundle(workspace, out, wantedVersion) {
  const target = { os: process.platform, arch: process.arch };
  requireBuilt(workspace, target);
  const manifest = JSON.parse(readFileSync(join(workspace, 'agent', 'package.json'), 'utf8'));
  const version = wantedVersion ?? manifest.version;
  if (!VERSION.test(version)) throw new BundleError(`"${version}" is no version. Give one like 1.4.0.`);
  const { packages } = JSON.parse(readFileSync(join(workspace, 'package-lock.json'), 'utf8'));
  const name = `drover-agent-${version}`;
  const temporary = mkdtempSync(join(tmpdir(), 'drover-bundle-'));
  try {
    const staging = join(temporary, name);
    let bytes = copyAgent(workspace, packages, staging, target);
    bytes += copy(join(here, 'drover-agent.sh'), join(staging, 'bin', 'drover-agent'));
    writeFileSync(join(staging, 'agent', 'package.json'), `${JSON.stringify({ ...manifest, version }, null, 2)}\n`);
    for (const file of ['drover-agent.service', 'install.sh'])
      bytes += copy(join(here, file), join(staging, 'systemd', file));
    bytes += copy(join(here, 'drover-launcher.sh'), join(staging, 'launcher', 'drover-agent'));
    bytes += copy(
      join(workspace, 'agent', 'dist', 'bundled-launcher', 'launcher-main.mjs'),
      join(staging, 'launcher', 'launcher-main.mjs'),
    );
    bytes += copy(join(here, '..', '..', 'LICENSE'), join(staging, 'LICENSE'));
    const facts = { version, ...target, nodeAbi: process.versions.modules, installMiB: Math.ceil(bytes / MIB) };
    // Lines of key=value, because a shell reads them before it has found a Node.js.
    writeFileSync(
      join(staging, 'BUNDLE'),
      Object.entries(facts)
        .map(([key, value]) => `${key}=${value}\n`)
        .join(''),
    );
    writeFileSync(join(staging, 'FILES'), fileList(staging));
    const compressed = archive(temporary, name);
    const sha256 = createHash('sha256').update(compressed).digest('hex');
    const fileName = `${name}-${target.os}-${target.arch}-abi${facts.nodeAbi}.tar.gz`;
    mkdirSync(out, { recursive: true });
    writeFileSync(join(out, fileName), compressed);
    writeFileSync(join(out, `${fileName}.sha256`), `${sha256}  ${fileName}\n`);
    return {
      file: join(out, fileName),
      sha256,
      version,
      bundleMiB: round(compressed.length / MIB),
      installMiB: round(bytes / MIB),
    };
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

const round = (value) => Math.round(value * 10) / 10;

try {
  const { values } = parseArgs({
    options: {
      out: { type: 'string' },
      version: { type: 'string' },
      workspace: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  const workspace = resolve(values.workspace ?? join(here, '..', '..'));
  const made = bundle(workspace, resolve(values.out ?? join(workspace, 'firmware-images', 'dist')), values.version);
  process.stdout.write(
    values.json
      ? `${JSON.stringify(made)}\n`
      : `${made.file}\nsha256 ${made.sha256}\n${made.bundleMiB} MiB packed, ${made.installMiB} MiB installed\n`,
  );
} catch (error) {
  if (!(error instanceof BundleError) && error?.code !== 'ERR_PARSE_ARGS_UNKNOWN_OPTION') throw error;
  process.stderr.write(`Error: ${error.message}\n`);
  process.exit(1);
}
