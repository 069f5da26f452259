#!/usr/bin/env node
import { formatCodedError, toCodedErrorJson } from '@drover/shared/coded-error';
import type { LauncherChannel } from './cli/terminal.js';
import { SLOT_VARIABLE, STATE_VARIABLE } from './launcher/contract.js';

function launcherChannel(): LauncherChannel | undefined {
  const { [STATE_VARIABLE]: stateDir, [SLOT_VARIABLE]: slot } = process.env;
  if (stateDir === undefined || slot === undefined || !process.connected) return undefined;
  // A launcher that is gone is told nothing; the event "disconnect" ends this agent.
  return { stateDir, slot, say: (message) => void process.send?.(message, undefined, undefined, () => undefined) };
}

/** The one place that touches the process: arguments, environment, signals, exit. */
async function main(): Promise<number> {
  const { runCommand } = await import('./cli/index.js');
  return runCommand({
    argv: process.argv,
    environment: process.env,
    stdout: (text) => process.stdout.write(text),
    stderr: (text) => process.stderr.write(text),
    launcher: launcherChannel(),
    untilStopped: () =>
      new Promise((resolve) => {
        process.once('SIGTERM', () => resolve());
        process.once('SIGINT', () => resolve());
        process.once('disconnect', () => resolve());
      }),
  });
}

// Whoever read the output has gone (a closed pipe): no reason to stop serving.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

// A promise that nobody waits for failed: the state is unknown, systemd starts the agent again.
process.on('unhandledRejection', (reason) => {
  process.stderr.write(
    `${JSON.stringify({ level: 'error', event: 'crash', ...toCodedErrorJson(reason), stack: (reason as Error | undefined)?.stack })}\n`,
  );
  process.exit(70);
});

main().then(
  (status) => process.exit(status),
  (error: unknown) => {
    const coded = toCodedErrorJson(error);
    process.stderr.write(`${formatCodedError(coded)}\n`);
    if (coded.code === 'INTERNAL_ERROR') process.stderr.write(`${(error as Error | undefined)?.stack ?? ''}\n`);
    process.exit(1);
  },
);
