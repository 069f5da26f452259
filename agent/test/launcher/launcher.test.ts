import { rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { asksFor, launcherDevice, PROGRAMS } from './device.js';

/** Loaded into the launcher's process before its own code: a disk that is full, and a power cut at the n-th call that changes the disk. */
const preload = (code: string): string =>
  `data:text/javascript,${encodeURIComponent(`import fs from 'node:fs'; import { syncBuiltinESMExports } from 'node:module'; ${code} syncBuiltinESMExports();`)}`;
const FULL_DISK = preload(
  `fs.writeSync = () => { throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' }); };`,
);
const CUT = preload(
  `let calls = 0;
   for (const name of ['openSync', 'writeSync', 'fsyncSync', 'renameSync']) {
     const real = fs[name];
     fs[name] = (...args) => {
       if (name === 'openSync' && !String(args[0]).startsWith(process.argv[5])) return real(...args);
       calls += 1;
       if (calls === Number(process.env.CUT_AT)) process.kill(process.pid, 'SIGKILL');
       return real(...args);
     };
   }`,
);

/** A device whose agent 1.0.0 asks once for 2.0.0, which is `program`. */
function deviceWithCandidate(program: string, commitWithinMs?: number) {
  const device = launcherDevice();
  const candidate = device.install('2.0.0', program);
  const old = device.install('1.0.0', asksFor(candidate, commitWithinMs), 'factory');
  return { device, candidate, old };
}

describe('when an agent asks for a newer version', () => {
  it('and that one comes up and commits, it stays, also after a restart', async () => {
    const { device, candidate, old } = deviceWithCandidate(PROGRAMS.commits);
    const launched = device.launch();
    await device.untilTraced('2.0.0 commits');
    expect(device.slots()).toMatchObject({ committed: candidate, previous: old });
    expect(await launched.stop()).toBe(0);

    device.launch();
    await device.untilTraced('2.0.0 is up', 2);
    expect(device.trace()).toEqual([
      '1.0.0 starts',
      '2.0.0 starts',
      '2.0.0 is up',
      '2.0.0 commits',
      '2.0.0 stops',
      '2.0.0 starts',
      '2.0.0 is up',
    ]);
    expect(device.slots().candidate).toBeUndefined();
  });

  it.each([
    ['exits at once', 'exited', 'exit code 3'],
    ['crashes after it was up', 'exited', 'SIGSEGV'],
    ['hangs', 'silent', '400 ms'],
    ['never reports', 'not-up', '1000 ms'],
    ['gives itself up', 'given-up', 'not fit'],
  ] as const)('and that one %s, the old one serves again and is told why (%s)', async (fault, cause, detail) => {
    const { device, candidate, old } = deviceWithCandidate(PROGRAMS[fault]);
    const launched = device.launch();
    await device.untilTraced('1.0.0 is up');
    expect(device.trace().filter((line) => line === '2.0.0 starts')).toHaveLength(1);
    const { committed, candidate: left, lastFailure } = device.slots();
    expect({ committed, left }).toEqual({ committed: old, left: undefined });
    expect(lastFailure).toMatchObject({ slot: candidate, cause, detail: expect.stringContaining(detail) as string });
    expect(await launched.stop()).toBe(0);
  });

  it('and that one never commits, its time ends', async () => {
    const { device, candidate } = deviceWithCandidate(PROGRAMS['never commits'], 700);
    device.launch();
    await device.untilTraced('1.0.0 is up');
    expect(device.slots().lastFailure).toMatchObject({ slot: candidate, cause: 'overdue' });
  });

  it.each([
    ['truncated', (file: string) => truncateSync(file, 20)],
    ['gone', (file: string) => rmSync(file)],
    ['changed at the same length', (file: string) => writeFileSync(file, 'x'.repeat(statSync(file).size))],
  ] as const)('and a file of that one is %s, it is never started', async (_, damage) => {
    const { device, candidate } = deviceWithCandidate(PROGRAMS.commits);
    damage(join(device.folderOf(candidate), 'agent.mjs'));
    device.launch();
    await device.untilTraced('1.0.0 is up');
    expect(device.trace()).not.toContain('2.0.0 starts');
    expect(device.slots().lastFailure).toMatchObject({ slot: candidate, cause: 'damaged' });
  });

  it('and the device goes down with it again and again, the third cut is the last', async () => {
    const { device, candidate, old } = deviceWithCandidate(PROGRAMS['never commits']);
    for (let cut = 1; cut <= 3; cut += 1) {
      const launched = device.launch();
      await device.untilTraced('2.0.0 is up', cut);
      await launched.kill();
    }
    device.launch();
    await device.untilTraced('1.0.0 is up');
    expect(device.trace().filter((line) => line === '2.0.0 starts')).toHaveLength(3);
    expect(device.slots()).toMatchObject({ committed: old, lastFailure: { slot: candidate, cause: 'interrupted' } });
  });

  it('and the service is restarted in order meanwhile, that does not count against it', async () => {
    const { device } = deviceWithCandidate(PROGRAMS['never commits']);
    for (let restart = 1; restart <= 5; restart += 1) {
      const launched = device.launch();
      await device.untilTraced('2.0.0 is up', restart);
      expect(await launched.stop()).toBe(0);
    }
    expect(device.slots().candidate).toMatchObject({ attempts: 0 });
  });
});

describe('when the committed version', () => {
  it('ends by itself, the launcher ends with its status, for systemd to start both again', async () => {
    const device = launcherDevice();
    device.install('1.0.0', `say('up'); setTimeout(() => process.exit(70), 50);`, 'factory');
    expect(await device.launch().ended).toBe(70);
    expect(device.slots().suspect).toBeUndefined();
  });

  it('does not come up, its files are read before the next start, and the one before it is started when they are damaged', async () => {
    const { device, candidate, old } = deviceWithCandidate(PROGRAMS.commits);
    const launched = device.launch();
    await device.untilTraced('2.0.0 commits');
    await launched.stop();
    const file = join(device.folderOf(candidate), 'agent.mjs');
    writeFileSync(file, '?'.repeat(statSync(file).size));

    expect(await device.launch().ended).toBe(1);
    expect(device.slots()).toMatchObject({ committed: candidate, suspect: true });

    device.launch();
    await device.untilTraced('1.0.0 starts', 2);
    expect(device.slots()).toMatchObject({ committed: old, lastFailure: { slot: candidate, cause: 'damaged' } });
  });

  it('is replaced by the operator, theirs runs, whatever was delivered before', async () => {
    const { device, candidate } = deviceWithCandidate(PROGRAMS.commits);
    const launched = device.launch();
    await device.untilTraced('2.0.0 commits');
    await launched.stop();

    const newer = device.install('1.5.0', PROGRAMS.sound, 'factory');
    device.launch();
    await device.untilTraced('1.5.0 is up');
    expect(device.slots()).toMatchObject({ factory: newer, committed: newer, previous: candidate });
  });
});

describe('when the record of the slots', () => {
  it('is damaged, the installed version runs and says so', async () => {
    const device = launcherDevice();
    const old = device.install('1.0.0', PROGRAMS.sound, 'factory');
    writeFileSync(join(device.stateDir, 'slots.json'), '{"format":"drover.slots/1","comm');
    device.launch();
    await device.untilTraced('1.0.0 is up');
    expect(device.slots()).toMatchObject({ committed: old, lastFailure: { cause: 'record-lost' } });
  });

  it('holds keys of a later version, they stay', async () => {
    const { device, old } = deviceWithCandidate(PROGRAMS['exits at once']);
    device.write({ format: 'drover.slots/1', factory: old, committed: old, ...{ later: [1] } });
    device.launch();
    await device.untilTraced('1.0.0 is up');
    expect(device.slots()).toMatchObject({ later: [1], lastFailure: { cause: 'exited' } });
  });

  it('cannot be written, nothing is tried and the committed version runs', async () => {
    const { device, candidate, old } = deviceWithCandidate(PROGRAMS.commits);
    device.write({
      format: 'drover.slots/1',
      factory: old,
      committed: old,
      candidate: { slot: candidate, attempts: 0, commitWithinMs: 60_000 },
    });
    const launched = device.launch({ nodeFlags: ['--import', FULL_DISK] });
    await device.untilTraced('1.0.0 is up');
    expect(device.trace()).not.toContain('2.0.0 starts');
    expect(launched.stderr()).toContain('LAUNCHER_RECORD_UNWRITABLE');
  });

  it('is missing and nothing is installed, it says what to do', async () => {
    const launched = launcherDevice().launch();
    expect(await launched.ended).toBe(1);
    expect(launched.stderr()).toContain('LAUNCHER_NO_SLOT');
  });
});

describe('when the launcher is killed at one of its writes', () => {
  it('each leaves a device that serves, and a record that is whole', async () => {
    for (let call = 1; ; call += 1) {
      const { device, candidate, old } = deviceWithCandidate(PROGRAMS['exits at once']);
      const killed = device.launch({ nodeFlags: ['--import', CUT], environment: { CUT_AT: String(call) } });
      const serves = device.untilTraced('1.0.0 is up');
      const ending = await Promise.race([killed.ended, serves]);
      if (ending === undefined) {
        // Open, write, fsync, rename, open folder, fsync; for the fresh record, the attempt and the fall-back.
        expect(call).toBeGreaterThan(3 * 6);
        return;
      }
      expect(ending).toBe('SIGKILL');
      device.launch();
      await serves;
      expect(device.slots()).toMatchObject({ committed: old, lastFailure: { slot: candidate } });
      expect(device.slots().candidate).toBeUndefined();
    }
  }, 60_000);
});
