import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  filesUnder,
  INSTALLER,
  installedAgent,
  run,
  sha256Of,
  smallBundle,
  stage,
  temporaryFolder,
  write,
} from './shell.js';

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

const PIN = 'A'.repeat(43);
const CERTIFICATE = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';

describe('install.sh, where the control plane is behind a proxy or has an authority of its own', () => {
  it('when a proxy and an authority are given, the agent gets them in its configuration', () => {
    const { folder, root } = newDevice();
    const bundle = smallBundle(folder);
    const given = ['--proxy', 'http://proxy.example:3128', '--no-proxy', 'localhost,lab.example'];
    const ca = write(join(folder, 'authority.pem'), CERTIFICATE);

    expect(install(root, bundle, ...given, '--ca', ca)).toMatchObject({ status: 0 });

    expect(JSON.parse(readFileSync(join(root, 'etc/drover/agent.json'), 'utf8'))).toEqual({
      dataDir: '/var/lib/drover',
      proxy: { url: 'http://proxy.example:3128', exceptions: ['localhost', 'lab.example'] },
    });
    expect(readFileSync(join(root, 'etc/drover/ca.crt'), 'utf8')).toBe(CERTIFICATE);
    const again = install(root, bundle, ...given, '--ca', ca);
    expect([again.status, again.stdout.includes('Nothing to do.')]).toEqual([0, true]);
    const other = install(root, bundle, '--proxy', 'http://other.example:3128');
    expect([other.status, other.stderr.includes('does not name this proxy')]).toEqual([1, true]);
    const fewer = install(root, bundle, ...given.slice(0, 3), 'localhost');
    expect([fewer.status, fewer.stderr.includes('other exceptions')]).toEqual([1, true]);
  });

  it('when somebody has set the configuration out anew, it still knows the same proxy and exceptions', () => {
    const { folder, root } = newDevice();
    const bundle = smallBundle(folder);
    const given = ['--proxy', 'http://proxy.example:3128', '--no-proxy', 'localhost,lab.example'];
    install(root, bundle, ...given);
    const file = join(root, 'etc/drover/agent.json');
    writeFileSync(file, JSON.stringify(JSON.parse(readFileSync(file, 'utf8')), undefined, 4));

    expect(install(root, bundle, ...given)).toMatchObject({ status: 0 });
  });

  it('when a device gets a proxy with a password, it is taken: only an image must not have one', () => {
    const { folder } = newDevice();
    const given = ['--bundle', smallBundle(folder), '--node', process.execPath, '--dry-run'];

    const { status, stdout } = run('sh', [INSTALLER, ...given, '--proxy', 'http://user:secret@proxy.example:3128']);

    expect(stdout).toContain('would write: /etc/drover/agent.json');
    expect(status).toBe(0);
  });

  it('when it enrols, the agent is told whom to believe: by file, or by the fingerprint in the token', () => {
    const { folder } = newDevice();
    const bundle = smallBundle(folder);
    const release = write(join(folder, 'root.json'), '{}');
    const enrolling = (token: string, ca: string) =>
      run('sh', [
        INSTALLER,
        ...['--bundle', bundle, '--node', process.execPath, '--release-root', release, '--dry-run'],
        ...['--control-plane', 'https://control-plane.example', '--token', token, '--ca', ca],
      ]);
    expect(enrolling('token', PIN)).toMatchObject({ status: 0 });
    expect(enrolling(`token.${PIN}`, PIN)).toMatchObject({ status: 0 });
    const contradicted = enrolling(`token.${'B'.repeat(43)}`, PIN);
    expect([contradicted.status, contradicted.stderr.includes('pins another authority')]).toEqual([1, true]);
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
    {
      when: 'the authority is neither a file nor a fingerprint',
      args: (folder) => ['--bundle', smallBundle(folder), '--ca', 'nobody'],
      says: 'neither a file',
      status: 1,
    },
    {
      when: 'the file of the authority holds no certificate',
      args: (folder) => ['--bundle', smallBundle(folder), '--ca', write(join(folder, 'notes.txt'), 'hello')],
      says: 'no certificate in PEM',
      status: 1,
    },
    {
      when: 'the proxy would end the text of the configuration',
      args: (folder) => ['--bundle', smallBundle(folder), '--proxy', 'http://a", "b": "c'],
      says: 'neither spaces, quotes nor backslashes',
      status: 2,
    },
    {
      when: 'the password of a proxy would go into an image',
      args: (folder) => ['--bundle', smallBundle(folder), '--proxy', 'http://user:secret@proxy.example:3128'],
      says: 'An image is for many',
      status: 2,
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
