#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { formatCodedError, toCodedErrorJson } from '@drover/shared/coded-error';
import { describeStart, USAGE, warnOfPlainListeners } from './banner.js';
import { readControlPlaneConfiguration } from './config.js';
import { startControlPlane, type ControlPlane } from './start.js';
import { StartError } from './start-errors.js';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

function readArguments() {
  try {
    return parseArgs({
      options: {
        config: { type: 'string' },
        'json-ready': { type: 'boolean', default: false },
        'rebuild-database': { type: 'boolean', default: false },
        'new-director-key': { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
        version: { type: 'boolean', default: false },
      },
    }).values;
  } catch (cause) {
    throw new StartError('ARGUMENTS_INVALID', cause instanceof Error ? cause.message : String(cause), {
      remedy: 'See `drover-control-plane --help`.',
      cause,
    });
  }
}

async function run(): Promise<void> {
  const options = readArguments();
  if (options.help || options.version) {
    process.stdout.write(options.help ? USAGE : `${version}\n`);
    return;
  }
  const configuration = readControlPlaneConfiguration(options.config, process.env);
  // Standard output belongs to the banner, or to the one line that a parent process waits for.
  const log = pino({ level: configuration.logLevel }, pino.destination({ fd: 2, sync: true }));
  const controlPlane = await startControlPlane({
    configuration,
    version,
    log,
    rebuildDatabase: options['rebuild-database'],
    newDirectorKey: options['new-director-key'],
  });
  closeOnSignal(controlPlane);
  for (const incident of controlPlane.incidents) process.stderr.write(`${formatCodedError(incident.toJSON())}\n`);
  process.stderr.write(warnOfPlainListeners(controlPlane.plainListeners));
  process.stdout.write(
    options['json-ready']
      ? `${JSON.stringify({ event: 'ready', httpUrl: controlPlane.httpUrl, mqttUrl: controlPlane.mqttUrl, adminToken: controlPlane.adminToken })}\n`
      : describeStart(controlPlane, configuration, version),
  );
}

/** The first signal closes in order; a second one ends at once. */
function closeOnSignal(controlPlane: ControlPlane): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      process.once(signal, () => process.exit(1));
      controlPlane.close().then(
        () => process.exit(0),
        (error: unknown) => fail(error),
      );
    });
  }
}

function fail(error: unknown): never {
  process.stderr.write(`${formatCodedError(toCodedErrorJson(error))}\n`);
  process.exit(error instanceof StartError && error.code === 'ARGUMENTS_INVALID' ? 2 : 1);
}

run().catch(fail);
