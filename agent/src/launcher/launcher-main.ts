import { spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { formatCodedError, toCodedErrorJson } from '@drover/shared/coded-error';
import { serviceNotifier } from '../supervisor/systemd.js';
import type { Bounds } from './agent-child.js';
import { NODE_VARIABLE, PROGRAM } from './contract.js';
import { LauncherError } from './errors.js';
import { committedFolder, launch } from './launch.js';

const log = (event: string, facts: object): void => {
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), level: 'info', event, ...facts })}\n`);
};

/** Longer than any of the agent's own pauses, and below what the unit allows (TimeoutStartSec, WatchdogSec, TimeoutStopSec). */
const BOUNDS: Bounds = { upWithinMs: 120_000, silentAfterMs: 28_000, stopWithinMs: 20_000 };

interface Settings {
  readonly versionsDir: string;
  readonly stateDir: string;
  readonly bounds: Bounds;
  readonly args: readonly string[];
}

function readArguments(argv: readonly string[]): Settings {
  const usage = (why: string, cause?: unknown): LauncherError =>
    new LauncherError('LAUNCHER_USAGE', `The launcher was started wrongly: ${why}.`, {
      remedy:
        'launcher-main.js --versions DIR --state DIR [--up-within-ms N] [--silent-after-ms N] -- COMMAND …; install.sh writes it so.',
      cause,
    });
  const separator = argv.indexOf('--');
  if (separator === -1) throw usage('"--" is missing');
  const own = argv.slice(0, separator);
  const text = { type: 'string' } as const;
  const options = { versions: text, state: text, 'up-within-ms': text, 'silent-after-ms': text };
  try {
    const { values } = parseArgs({ args: own, options });
    if (values.versions === undefined || values.state === undefined) throw usage('--versions and --state are needed');
    const bound = (value: string | undefined, otherwise: number): number => {
      if (value === undefined) return otherwise;
      if (!/^[1-9]\d{0,8}$/.test(value)) throw usage(`"${value}" is no time in milliseconds`);
      return Number(value);
    };
    return {
      versionsDir: resolve(values.versions),
      stateDir: resolve(values.state),
      bounds: {
        ...BOUNDS,
        upWithinMs: bound(values['up-within-ms'], BOUNDS.upWithinMs),
        silentAfterMs: bound(values['silent-after-ms'], BOUNDS.silentAfterMs),
      },
      args: argv.slice(separator + 1),
    };
  } catch (error) {
    if (error instanceof LauncherError) throw error;
    throw usage((error as Error).message, error);
  }
}

/** Commands that do not end by themselves. */
const WATCHED: readonly (string | undefined)[] = ['run', 'attach'];

/** Watches an agent that runs; passes any other command on to the committed version as it is. */
async function main(): Promise<number> {
  const settings = readArguments(process.argv.slice(2));
  if (!WATCHED.includes(settings.args[0])) return pass(settings);
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.abort());
  const notifier = serviceNotifier({
    environment: process.env,
    onFailure: (message) => log('launcher.systemd', { message }),
  });
  let pings: NodeJS.Timeout | undefined;
  return launch({
    ...settings,
    environment: process.env,
    stop: stop.signal,
    log,
    onStarting() {
      // Until the agent speaks for itself: a change of versions may take longer than WatchdogSec.
      clearInterval(pings);
      if (notifier.watchdogIntervalMs !== undefined)
        pings = setInterval(() => notifier.starting(), notifier.watchdogIntervalMs);
    },
    onUp: () => clearInterval(pings),
  });
}

function pass(settings: Settings): Promise<number> {
  const child = spawn('/bin/sh', [join(committedFolder(settings), PROGRAM), ...settings.args], {
    stdio: 'inherit',
    env: { ...process.env, [NODE_VARIABLE]: process.execPath },
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => child.kill(signal));
  return new Promise((settle, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => settle(code ?? 1));
  });
}

main().then(
  (status) => process.exit(status),
  (error: unknown) => {
    process.stderr.write(`${formatCodedError(toCodedErrorJson(error))}\n`);
    process.exit(error instanceof LauncherError && error.code === 'LAUNCHER_USAGE' ? 2 : 1);
  },
);
