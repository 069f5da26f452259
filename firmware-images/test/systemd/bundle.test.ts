import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { filesUnder, installedAgent, run, sha256Of, stage, SYSTEMD_FOLDER, temporaryFolder, write } from './shell.js';

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));

/** Opens each package that is not bundled, as the agent does. */
const PROBE = `
import Database from 'better-sqlite3';
import { listSupportedBackends } from 'onnxruntime-node';
const one = new Database(':memory:').prepare('SELECT 1 AS one').get();
console.log(JSON.stringify({ ...one, cpu: listSupportedBackends().some(({ name }) => name === 'cpu') }));
`;

/** The real lockfile and dependencies with a probe in place of the agent's own code, so that the build need not have run. */
function workspaceWithProbe(): string {
  const workspace = temporaryFolder();
  for (const file of ['package-lock.json', 'agent/package.json', 'shared/package.json']) {
    mkdirSync(join(workspace, file, '..'), { recursive: true });
    cpSync(join(REPOSITORY, file), join(workspace, file));
  }
  symlinkSync(join(REPOSITORY, 'node_modules'), join(workspace, 'node_modules'));
  write(join(workspace, 'agent/dist/bundled/main.js'), PROBE);
  cpSync(
    join(REPOSITORY, 'agent/dist/bundled-launcher/launcher-main.mjs'),
    join(workspace, 'agent/dist/bundled-launcher/launcher-main.mjs'),
  );
  return workspace;
}

const bundle = (workspace: string, out: string) =>
  run(process.execPath, [join(SYSTEMD_FOLDER, 'bundle.mjs'), '--workspace', workspace, '--out', out, '--json']);

describe('bundle.mjs', () => {
  it('when its bundle is installed, the native modules load from it alone', () => {
    const out = temporaryFolder();
    const { stdout, stderr } = bundle(workspaceWithProbe(), out);
    expect(stderr).toBe('');
    const { file, sha256, installMiB } = JSON.parse(stdout) as { file: string; sha256: string; installMiB: number };
    expect(sha256Of(file)).toBe(sha256);
    expect(readFileSync(`${file}.sha256`, 'utf8')).toContain(sha256);

    const root = join(out, 'root');
    expect(stage(root, 'install', '--bundle', file, '--node', process.execPath)).toMatchObject({
      status: 0,
      stderr: '',
    });

    const agent = installedAgent(root);
    expect(agent.stderr).toBe('');
    expect(JSON.parse(agent.stdout)).toEqual({ one: 1, cpu: true });
    // A device's disk is small; all platforms' ONNX Runtime together would be 290 MiB.
    expect(installMiB).toBeLessThan(100);
    const platforms = filesUnder(root).flatMap(
      (path) => /onnxruntime-node\/bin\/[^/]+\/([^/]+\/[^/]+)\//.exec(path)?.[1] ?? [],
    );
    expect([...new Set(platforms)]).toEqual([`${process.platform}/${process.arch}`]);
  });

  it('when the real agent is installed from its bundle, it runs a model and finds all of its own code there', () => {
    const out = temporaryFolder();
    const { file } = JSON.parse(bundle(REPOSITORY, out).stdout) as { file: string };
    const root = join(out, 'root');
    stage(root, 'install', '--bundle', file, '--node', process.execPath);

    const doctor = installedAgent(root, 'doctor', '--json', '--data-dir', out);

    const { checks } = JSON.parse(doctor.stdout) as { checks: { name: string; ok: boolean; detail: string }[] };
    expect(checks.find(({ name }) => name === 'provider')).toMatchObject({ ok: true });
    const installed = filesUnder(root).filter((path) => path.includes('/versions/') && /\.m?js$/.test(path));
    const packages = installed.flatMap((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []);
    expect(new Set(packages)).toEqual(
      new Set(['better-sqlite3', 'bindings', 'file-uri-to-path', 'onnxruntime-common', 'onnxruntime-node']),
    );
  });

  it('when it packs the same contents again from another folder, the bytes are the same', () => {
    const [first, second] = [temporaryFolder(), temporaryFolder()].map((out) => {
      const { stdout } = bundle(workspaceWithProbe(), out);
      return (JSON.parse(stdout) as { sha256: string }).sha256;
    });

    expect(first).toMatch(/^[0-9a-f]{64}$/);
    expect(first).toBe(second);
  });

  it('when the agent is not built, it says what to run and writes nothing', () => {
    const workspace = temporaryFolder();
    const out = join(workspace, 'out');

    const { status, stderr } = bundle(workspace, out);

    expect(status).toBe(1);
    expect(stderr).toBe('Error: agent/dist/bundled/main.js is missing. Run npm run build first.\n');
    expect(existsSync(out)).toBe(false);
  });
});
