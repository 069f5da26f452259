import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));

export interface Bundle {
  readonly file: string;
  readonly version: string;
}

/** The agent of this source, under another version. */
export function realBundle(out: string, version: string): Bundle {
  const script = join(REPOSITORY, 'firmware-images/systemd/bundle.mjs');
  const said = execFileSync(process.execPath, [script, '--out', out, '--version', version, '--json'], {
    encoding: 'utf8',
  });
  return { file: (JSON.parse(said) as { file: string }).file, version };
}

/** A version that passes its own check and fails as `run` says: what no check finds before the version is started. */
export function faultyBundle(out: string, version: string, run: string): Bundle {
  const name = `drover-agent-${version}`;
  const main = `
    if (process.argv[2] === 'self-test') {
      console.log(JSON.stringify({ nonce: process.argv[process.argv.indexOf('--nonce') + 1], version: '${version}', summary: 'fine' }));
    } else { ${run} }`;
  const facts = { version, os: process.platform, arch: process.arch, nodeAbi: process.versions.modules };
  const files: Record<string, string> = {
    BUNDLE: Object.entries(facts)
      .map(([key, value]) => `${key}=${value}\n`)
      .join(''),
    'bin/drover-agent': 'exec "$DROVER_NODE" "$(dirname "$0")/../main.mjs" "$@"\n',
    'main.mjs': main,
  };
  const list = Object.entries(files).map(
    ([path, text]) => `${createHash('sha256').update(text).digest('hex')} ${Buffer.byteLength(text)} ${path}\n`,
  );
  files['FILES'] = `${list.join('')}total ${list.length}\n`;
  for (const [path, text] of Object.entries(files)) {
    const file = join(out, name, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  const file = join(out, `${name}.tar.gz`);
  const tar = spawnSync('tar', ['--format=ustar', '-czf', file, '-C', out, name], { encoding: 'utf8' });
  if (tar.status !== 0) throw new Error(tar.stderr);
  return { file, version };
}
