import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Version } from '@drover/shared/ids';
import type { ReleaseManifest } from '@drover/shared/manifest';
import { assembleAgentRelease } from '@drover/shared/release';
import type { Published } from '../fixtures/releases.js';

export const platform = { os: 'linux', arch: 'pdp11', nodeAbi: '115' };

/** A bundle of a few lines in place of 50 MiB, as bundle.mjs packs it. */
export function bundleOf(version: string, program: string, change: Readonly<Record<string, string>> = {}): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'drover-bundle-'));
  try {
    const files: Record<string, string> = { BUNDLE: `version=${version}\n`, 'bin/drover-agent': program };
    const list = Object.entries(files).map(
      ([path, text]) => `${createHash('sha256').update(text).digest('hex')} ${Buffer.byteLength(text)} ${path}\n`,
    );
    files['FILES'] = `${list.join('')}total ${list.length}\n`;
    const name = `drover-agent-${version}`;
    for (const [path, text] of Object.entries({ ...files, ...change })) {
      const file = join(folder, name, path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, text);
    }
    execFileSync('tar', ['--format=ustar', '-C', folder, '-czf', join(folder, 'bundle'), name]);
    return readFileSync(join(folder, 'bundle'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Passes its own check, as a release that is fit does. */
export const soundProgram = (version: string): string =>
  `echo '{"nonce":"'"$3"'","version":"${version}","summary":"fine"}'\n`;

export type AgentPublished = Omit<Published, 'manifest' | 'modelBytes'> & { readonly manifest: ReleaseManifest };

export function publishAgent(
  version: string,
  bundle = bundleOf(version, soundProgram(version)),
  unpackedBytes = 100_000,
): AgentPublished {
  const { digest, manifest, manifestBytes, files } = assembleAgentRelease({
    version: Version(version),
    createdAt: new Date(0),
    bundles: [{ platform, bytes: bundle, unpackedBytes }],
  });
  return { release: { version: Version(version), digest }, manifest, manifestBytes, files };
}
