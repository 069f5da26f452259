import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { filesUnder, installedAgent, sha256Of, smallBundle, stage, temporaryFolder, write } from './shell.js';

function newDevice() {
  const folder = temporaryFolder();
  return { folder, root: join(folder, 'root') };
}

const install = (root: string, bundle: string, ...more: string[]) =>
  stage(root, 'install', '--bundle', bundle, '--node', process.execPath, ...more);

describe('install.sh', () => {
  it('when a bundle is installed, its agent runs through the link', () => {
    const { folder, root } = newDevice();

    const { status, stdout, stderr } = install(root, smallBundle(folder));

    expect(stderr).toContain('goes unchecked');
    expect(stdout).toContain('Installed: agent 1.0.0');
    expect(status).toBe(0);
    expect(installedAgent(root).stdout).toBe('agent 1.0.0\n');
    expect(installedAgent(root, 'run').stdout).toBe('agent 1.0.0\n');
    expect(filesUnder(root)).toContain('etc/systemd/system/drover-agent.service');
    expect(JSON.parse(readFileSync(join(root, 'etc/drover/agent.json'), 'utf8'))).toEqual({
      dataDir: '/var/lib/drover',
    });
  });

  it('when it runs a second time, it changes nothing and says so', () => {
    const { folder, root } = newDevice();
    const bundle = smallBundle(folder);
    install(root, bundle);
    const before = filesUnder(root);

    const { status, stdout } = install(root, bundle);

    expect(stdout).toContain('Nothing to do.');
    expect(status).toBe(0);
    expect(filesUnder(root)).toEqual(before);
  });

  it('when it is a dry run, it writes nothing at all', () => {
    const { folder, root } = newDevice();

    const { status, stdout } = install(root, smallBundle(folder), '--dry-run');

    expect(stdout).toContain('would unpack');
    expect(stdout).toContain('Nothing was changed.');
    expect(status).toBe(0);
    expect(existsSync(root)).toBe(false);
  });

  it('when a newer bundle comes, it switches to it, keeps the version before and drops older ones', () => {
    const { folder, root } = newDevice();
    for (const version of ['1.0.0', '1.1.0', '1.2.0']) {
      expect(install(root, smallBundle(folder, { version })).status).toBe(0);
    }

    const versions = readdirSync(join(root, 'opt/drover/versions')).map((name) => name.split('-')[0]);
    expect(readlinkSync(join(root, 'opt/drover/versions/factory'))).toMatch(/^1\.2\.0-[0-9a-f]{12}$/);
    expect(versions.sort()).toEqual(['1.1.0', '1.2.0', 'factory']);
    expect(installedAgent(root).stdout).toBe('agent 1.2.0\n');
  });

  it('when the same version comes with other contents, it takes them', () => {
    const { folder, root } = newDevice();
    install(root, smallBundle(folder));

    install(root, smallBundle(folder, { program: `console.log('mended');\n` }));

    expect(installedAgent(root).stdout).toBe('mended\n');
  });

  it('when the operator has changed the configuration, it is left alone', () => {
    const { folder, root } = newDevice();
    const bundle = smallBundle(folder);
    install(root, bundle);
    writeFileSync(join(root, 'etc/drover/agent.json'), '{ "mine": true }');

    install(root, bundle);

    expect(readFileSync(join(root, 'etc/drover/agent.json'), 'utf8')).toBe('{ "mine": true }');
  });

  it('when the device has a Jetson GPU, the service may use exactly its nodes', () => {
    const { folder, root } = newDevice();
    write(
      join(root, 'etc/nv_tegra_release'),
      '# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic, EABI: aarch64\n',
    );
    for (const node of ['nvmap', 'nvhost-ctrl', 'nvgpu/igpu0/ctrl', 'dri/renderD128', 'ttyS0'])
      write(join(root, 'dev', node), '');

    const { stdout } = install(root, smallBundle(folder));

    expect(stdout).toContain('L4T R36.4.3 (JetPack 6)');
    const dropIn = readFileSync(join(root, 'etc/systemd/system/drover-agent.service.d/10-gpu.conf'), 'utf8');
    expect(dropIn.split('\n').filter((line) => line.startsWith('DeviceAllow='))).toEqual([
      'DeviceAllow=/dev/dri/renderD128 rw',
      'DeviceAllow=/dev/nvgpu/igpu0/ctrl rw',
      'DeviceAllow=/dev/nvhost-ctrl rw',
      'DeviceAllow=/dev/nvmap rw',
    ]);
  });

  it('when the root is another than the pinned one, it refuses to replace it', () => {
    const { folder, root } = newDevice();
    const bundle = smallBundle(folder);
    install(root, bundle, '--release-root', write(join(folder, 'ours.json'), '{"ours":1}'));

    const { status, stderr } = install(
      root,
      bundle,
      '--release-root',
      write(join(folder, 'theirs.json'), '{"theirs":1}'),
    );

    expect(status).toBe(1);
    expect(stderr).toContain('never replaced in passing');
    expect(readFileSync(join(root, 'etc/drover/root.json'), 'utf8')).toBe('{"ours":1}');
  });
});

describe('install.sh, given what does not fit', () => {
  const refused: {
    readonly when: string;
    readonly args: (folder: string) => readonly string[];
    readonly says: string;
    readonly status: number;
  }[] = [
    {
      when: 'the digest on the command line is another',
      args: (folder) => ['--bundle', smallBundle(folder), '--sha256', '0'.repeat(64)],
      says: 'damaged or exchanged',
      status: 1,
    },
    {
      when: 'the digest beside the bundle is another',
      args: (folder) => {
        const bundle = smallBundle(folder);
        write(`${bundle}.sha256`, `${'0'.repeat(64)}  ${bundle}\n`);
        return ['--bundle', bundle];
      },
      says: 'damaged or exchanged',
      status: 1,
    },
    {
      when: 'the bundle is for another processor',
      args: (folder) => ['--bundle', smallBundle(folder, { arch: 'riscv64' })],
      says: 'The bundle is for linux-riscv64',
      status: 1,
    },
    {
      when: 'no Node.js has the ABI of the bundle',
      args: (folder) => ['--bundle', smallBundle(folder, { nodeAbi: '1' }), '--node', process.execPath],
      says: 'the bundle was made for ABI 1',
      status: 1,
    },
    {
      when: 'the bundle is some other file',
      args: (folder) => ['--bundle', write(join(folder, 'notes.txt'), 'hello')],
      says: 'no agent bundle',
      status: 1,
    },
    {
      when: 'the bundle is missing',
      args: (folder) => ['--bundle', join(folder, 'nowhere')],
      says: "can't be read",
      status: 1,
    },
    { when: 'an option is unknown', args: () => ['--bundel', 'x'], says: 'Unknown argument: --bundel', status: 2 },
    {
      when: 'an image would be enrolled',
      args: (folder) => ['--bundle', smallBundle(folder), '--control-plane', 'http://localhost', '--token', 't'],
      says: 'must not share one identity',
      status: 2,
    },
  ];

  it.each(refused)('when $when, it refuses and writes nothing', ({ args, says, status }) => {
    const { folder, root } = newDevice();

    const ended = stage(root, 'install', ...args(folder));

    expect(ended.stderr).toContain(says);
    expect(ended.status).toBe(status);
    expect(existsSync(root) ? filesUnder(root) : []).toEqual([]);
  });

  it('when the digest is right, it installs', () => {
    const { folder, root } = newDevice();
    const bundle = smallBundle(folder);

    expect(install(root, bundle, '--sha256', sha256Of(bundle))).toMatchObject({ status: 0, stderr: '' });
  });

  it('when the device runs JetPack 4, it says that its system is too old', () => {
    const { folder, root } = newDevice();
    write(join(root, 'etc/nv_tegra_release'), '# R32 (release), REVISION: 7.1, GCID: 1, BOARD: t186ref\n');

    const { status, stderr } = install(root, smallBundle(folder));

    expect(status).toBe(1);
    expect(stderr).toContain('Upgrade the device to JetPack 5');
  });
});

describe('install.sh uninstall', () => {
  function installed() {
    const { folder, root } = newDevice();
    install(root, smallBundle(folder));
    write(join(root, 'var/lib/drover/journal.sqlite'), 'history');
    write(join(root, 'var/lib/drover/agent/versions/2.0.0-0123456789ab/FILES'), 'delivered');
    return root;
  }

  it('when purging, nothing is left behind', () => {
    const root = installed();

    const { status } = stage(root, 'uninstall', '--purge', '--yes');

    expect(status).toBe(0);
    expect(filesUnder(root)).toEqual([]);
    for (const folder of ['opt/drover', 'etc/drover', 'var/lib/drover'])
      expect(existsSync(join(root, folder))).toBe(false);
  });

  it('when not purging, configuration and data stay', () => {
    const root = installed();

    expect(stage(root, 'uninstall').status).toBe(0);

    expect(filesUnder(root)).toEqual(['etc/drover/agent.json', 'var/lib/drover/journal.sqlite']);
  });

  it('when it runs a second time, there is nothing to do and no error', () => {
    const root = installed();
    stage(root, 'uninstall', '--purge', '--yes');

    expect(stage(root, 'uninstall', '--purge', '--yes').status).toBe(0);
  });

  it('when nobody confirms the purge, nothing is deleted', () => {
    const root = installed();
    const before = filesUnder(root);

    const { status, stderr } = stage(root, 'uninstall', '--purge');

    expect(status).toBe(2);
    expect(stderr).toContain('--yes');
    expect(filesUnder(root)).toEqual(before);
  });
});
