import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { INSTALLER, isInstalled, run, SYSTEMD_FOLDER, temporaryFolder, write } from './shell.js';

const unit = readFileSync(join(SYSTEMD_FOLDER, 'drover-agent.service'), 'utf8');
const hasSystemd = isInstalled('systemd-analyze');

/** `verify` wants a program that exists, and none is installed at /opt/drover here. */
const verifiable = (text: string): string =>
  write(
    join(temporaryFolder(), 'drover-agent.service'),
    text.replace('/opt/drover/launcher/drover-agent', '/bin/true'),
  );

describe('the systemd unit', () => {
  it.skipIf(!hasSystemd)('when systemd reads it, it finds nothing to complain about', () => {
    const { status, stderr } = run('systemd-analyze', ['verify', verifiable(unit)]);

    expect(stderr).toBe('');
    expect(status).toBe(0);
  });

  it.skipIf(!hasSystemd)('when a directive is misspelt, the same check says so', () => {
    const { stderr } = run('systemd-analyze', ['verify', verifiable(unit.replace('ProtectHome=', 'ProtectHouse='))]);

    expect(stderr).toContain('ProtectHouse');
  });

  it.skipIf(!hasSystemd)('when systemd rates its exposure, it is at most 2.0 of 10', () => {
    const rated = run('systemd-analyze', [
      'security',
      '--offline=true',
      '--threshold=20',
      '--no-pager',
      verifiable(unit),
    ]);

    expect(rated.stdout).toMatch(/Overall exposure level .*: \d/);
    expect(rated.status).toBe(0);
  });

  it('when the device has no network, nothing makes the agent wait for it', () => {
    expect(unit).not.toMatch(/^(Requires|BindsTo|Wants|After)=.*network-online/m);
  });

  it('when the agent fails again and again, systemd never gives up', () => {
    expect(unit).toMatch(/^Restart=always$/m);
    expect(unit).toMatch(/^StartLimitIntervalSec=0$/m);
  });

  it('when JavaScript is compiled and a GPU used, the sandbox does not forbid it', () => {
    expect(unit).not.toMatch(/^(MemoryDenyWriteExecute|PrivateDevices|PrivateUsers)=/m);
  });
});

describe('the shell scripts', () => {
  it.skipIf(!isInstalled('shellcheck'))('when shellcheck reads them, it finds nothing to complain about', () => {
    const { status, stdout } = run('shellcheck', [
      INSTALLER,
      join(SYSTEMD_FOLDER, 'drover-agent.sh'),
      join(SYSTEMD_FOLDER, 'drover-launcher.sh'),
    ]);

    expect(stdout).toBe('');
    expect(status).toBe(0);
  });
});
