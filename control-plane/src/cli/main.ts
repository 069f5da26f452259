#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { CliError } from './errors.js';
import { runDrover } from './program.js';
import type { Terminal } from './terminal.js';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

const interruption = new AbortController();
process.once('SIGINT', () => {
  process.once('SIGINT', () => process.exit(130));
  interruption.abort(
    new CliError('CLI_INTERRUPTED', 'Interrupted.', { remedy: 'Give the same command again to go on.' }),
  );
});

const terminal: Terminal = {
  environment: process.env,
  homeDirectory: homedir(),
  interrupted: interruption.signal,
  interactive: process.stdin.isTTY && process.stderr.isTTY,
  out: (text) => void process.stdout.write(`${text}\n`),
  err: (text) => void process.stderr.write(`${text}\n`),
  async ask(question) {
    const readline = createInterface({ input: process.stdin, output: process.stderr });
    try {
      return await readline.question(question);
    } finally {
      readline.close();
    }
  },
  async askSecret(question) {
    process.stderr.write(question);
    // readline echoes what is typed to its output.
    const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
    const readline = createInterface({ input: process.stdin, output: nowhere, terminal: true });
    try {
      return await readline.question('');
    } finally {
      readline.close();
      process.stderr.write('\n');
    }
  },
  sleep: async (ms) => {
    await wait(ms, undefined, { signal: interruption.signal });
  },
};

process.exitCode = await runDrover(process.argv.slice(2), terminal, version);
