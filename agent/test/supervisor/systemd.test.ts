import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { serviceNotifier } from '../../src/supervisor/systemd.js';

describe('serviceNotifier', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'drover-systemd-'))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const record = () => join(folder, 'record');
  /** A program on PATH that writes down how it was called, one call a line. */
  function fakeProgram(status = 0): Record<string, string> {
    const file = join(folder, 'systemd-notify');
    writeFileSync(file, `#!/bin/sh\necho "$NOTIFY_SOCKET|$*" >> ${record()}\nexit ${status}\n`);
    chmodSync(file, 0o755);
    return { PATH: `${folder}:/usr/bin:/bin`, NOTIFY_SOCKET: '/run/notify' };
  }
  const calls = async (count: number): Promise<string[]> => {
    for (;;) {
      const lines = existsSync(record()) ? readFileSync(record(), 'utf8').split('\n').slice(0, -1) : [];
      if (lines.length >= count) return lines;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const notifier = (environment: Record<string, string>, failures: string[] = []) =>
    serviceNotifier({ environment, onFailure: (message) => failures.push(message) });

  it('when systemd started the agent, it says ready, alive and stopping to the socket that it was given', async () => {
    const service = notifier({ ...fakeProgram(), WATCHDOG_USEC: '30000000' });
    service.ready('serving on 127.0.0.1:8080');
    await calls(1);
    service.alive();
    await calls(2);
    service.stopping();
    expect(await calls(3)).toEqual([
      '/run/notify|--ready --status=serving on 127.0.0.1:8080',
      '/run/notify|--ready WATCHDOG=1',
      '/run/notify|STOPPING=1',
    ]);
    expect(service.watchdogIntervalMs).toBe(15_000);
  });

  it('when nobody waits to be notified, nothing is started and there is no watchdog', async () => {
    const { PATH = '' } = fakeProgram();
    const service = notifier({ PATH, WATCHDOG_USEC: '30000000' });
    service.ready('x');
    service.alive();
    // A second notifier proves that the first would have been recorded by now.
    notifier(fakeProgram()).ready('y');
    expect(await calls(1)).toEqual(['/run/notify|--ready --status=y']);
    expect(service.watchdogIntervalMs).toBeUndefined();
  });

  it.each([['0'], ['soon'], ['']])('when WATCHDOG_USEC is "%s", there is no watchdog', (value) => {
    expect(notifier({ ...fakeProgram(), WATCHDOG_USEC: value }).watchdogIntervalMs).toBeUndefined();
  });

  it('when the program fails or is missing, that is told and nothing is thrown', async () => {
    const failures: string[] = [];
    const waitFor = async (count: number) => {
      while (failures.length < count) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    notifier(fakeProgram(3), failures).ready('x');
    await waitFor(1);
    notifier({ PATH: join(folder, 'nowhere'), NOTIFY_SOCKET: '/run/notify' }, failures).alive();
    await waitFor(2);
    expect(failures[0]).toBe('systemd-notify --ready --status=x ended with 3');
    expect(failures[1]).toContain('systemd-notify cannot be run');
  });
});
