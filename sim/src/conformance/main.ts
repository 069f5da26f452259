#!/usr/bin/env node
// The client under test of the tuf-conformance suite (its CLIENT-CLI.md). Run by .config/conformance-tuf.mjs; no part of the product.
import { parseArgs } from 'node:util';
import { formatCodedError, toCodedErrorJson } from '@drover/shared/coded-error';
import { download, init, refresh } from './commands.js';

const text = { type: 'string', default: '' } as const;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      'metadata-dir': text,
      'metadata-url': text,
      'target-name': { type: 'string', multiple: true, default: [] },
      'target-base-url': text,
      'target-dir': text,
    },
  });
  const [command, trustedRootFile = ''] = positionals;
  const options = {
    metadataFolder: values['metadata-dir'],
    metadataUrl: values['metadata-url'],
    nowMs: Date.now(),
    signal: new AbortController().signal,
  };
  if (command === 'init') init(options.metadataFolder, trustedRootFile);
  else if (command === 'refresh') await refresh(options);
  else if (command === 'download') {
    await download({
      ...options,
      targetNames: values['target-name'],
      targetsUrl: values['target-base-url'],
      targetsFolder: values['target-dir'],
    });
  } else throw new Error(`There is no command ${JSON.stringify(command)}: init, refresh or download.`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${formatCodedError(toCodedErrorJson(error))}\n`);
  if (error instanceof Error && error.cause instanceof Error) process.stderr.write(`  cause: ${error.cause.message}\n`);
  process.exitCode = 1;
}
