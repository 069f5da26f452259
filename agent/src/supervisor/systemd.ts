import { spawn } from 'node:child_process';

/**
 * Speaks sd_notify(3) through `systemd-notify`, because Node has no Unix datagram sockets; the unit says `NotifyAccess=all` for it.
 * Outside systemd (no NOTIFY_SOCKET) nothing is spawned.
 */
export interface ServiceNotifier {
  ready(status: string): void;
  /** Keeps the watchdog quiet. Call it only while everything that must work does. */
  alive(): void;
  stopping(): void;
  /** Keeps the watchdog quiet while a change of versions is under way, without claiming that anything is ready. */
  starting(): void;
  /** How often `alive` has to be called: half of WatchdogSec; undefined without a watchdog. */
  readonly watchdogIntervalMs: number | undefined;
}

export interface ServiceNotifierOptions {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly command?: string;
  readonly onFailure: (message: string) => void;
}

export function serviceNotifier({
  environment,
  command = 'systemd-notify',
  onFailure,
}: ServiceNotifierOptions): ServiceNotifier {
  const socket = environment['NOTIFY_SOCKET'];
  const watchdogUs = Number(environment['WATCHDOG_USEC'] ?? 0);
  const send = (...words: string[]): void => {
    if (!socket) return;
    const child = spawn(command, words, {
      stdio: 'ignore',
      env: { NOTIFY_SOCKET: socket, PATH: environment['PATH'] ?? '/usr/bin:/bin' },
    });
    child.on('error', (error) => onFailure(`systemd-notify cannot be run: ${error.message}`));
    child.on('exit', (code) => {
      if (code !== 0 && code !== null) onFailure(`systemd-notify ${words.join(' ')} ended with ${code}`);
    });
  };
  return {
    ready: (status) => send('--ready', `--status=${status}`),
    // READY again: before systemd 246 (JetPack 5) the one message of a short-lived systemd-notify can get lost.
    alive: () => send('--ready', 'WATCHDOG=1'),
    stopping: () => send('STOPPING=1'),
    starting: () => send('WATCHDOG=1'),
    watchdogIntervalMs: socket && watchdogUs > 0 ? watchdogUs / 2000 : undefined,
  };
}
