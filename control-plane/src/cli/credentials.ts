import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { Type, type Static } from 'typebox';
import { formatProblems, validate } from '@drover/shared/validation';
import { createSecretFile } from '../secret-file.js';
import { CliError } from './errors.js';
import { readJson } from './files.js';
import type { Terminal } from './terminal.js';

const Credentials = Type.Object(
  {
    url: Type.String({ minLength: 1 }),
    token: Type.String({ minLength: 1 }),
    /** Certificates of the authority that the control plane proves itself by, PEM. */
    ca: Type.Optional(Type.String({ minLength: 1 })),
  },
  { additionalProperties: false },
);
export type Credentials = Static<typeof Credentials>;

/** XDG Base Directory Specification. */
export function credentialsFile({ environment, homeDirectory }: Terminal): string {
  const base = environment['XDG_CONFIG_HOME'];
  return join(base === undefined || base === '' ? join(homeDirectory, '.config') : base, 'drover', 'credentials.json');
}

/** @returns the file's path */
export function saveCredentials(terminal: Terminal, credentials: Credentials): string {
  const file = credentialsFile(terminal);
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const fresh = `${file}.${randomUUID()}`;
  createSecretFile(fresh, `${JSON.stringify(credentials, undefined, 2)}\n`);
  renameSync(fresh, file);
  return file;
}

/** Flags over environment over file. @throws CliError CLI_NOT_LOGGED_IN, CLI_FILE_UNREADABLE */
export function findCredentials(terminal: Terminal, url: string | undefined): Credentials {
  const file = credentialsFile(terminal);
  const saved = existsSync(file)
    ? validate(Credentials, readJson(file), (problems) => unreadable(file, formatProblems(problems)))
    : undefined;
  const chosenUrl = url ?? terminal.environment['DROVER_URL'] ?? saved?.url;
  // A saved token is sent to the control plane that it was saved for, never to another one.
  const token = terminal.environment['DROVER_TOKEN'] ?? (chosenUrl === saved?.url ? saved?.token : undefined);
  const ca = chosenUrl === saved?.url ? saved?.ca : undefined;
  if (chosenUrl !== undefined && token !== undefined)
    return { url: chosenUrl, token, ...(ca === undefined ? {} : { ca }) };
  throw new CliError(
    'CLI_NOT_LOGGED_IN',
    chosenUrl === undefined ? 'No control plane is known.' : `No token is known for ${chosenUrl}.`,
    {
      remedy: 'Run `drover login URL --token TOKEN`, or set DROVER_URL and DROVER_TOKEN.',
    },
  );
}

const unreadable = (file: string, problems: string) =>
  new CliError('CLI_FILE_UNREADABLE', `The saved credentials cannot be read: ${problems}.`, {
    where: file,
    remedy: 'Run `drover login URL --token TOKEN` again.',
  });
