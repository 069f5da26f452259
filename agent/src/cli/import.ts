import { randomUUID } from 'node:crypto';
import { chown, lstat, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { formatCodedError, type CodedErrorJson } from '@drover/shared/coded-error';
import { parseJsonBytes, validate } from '@drover/shared/validation';
import {
  ANSWER_SUFFIX,
  IMPORT_SUFFIX,
  ImportAnswer,
  ImportError,
  importFolder,
  openBundle,
  bundleUnreadable,
  type ImportOutcome,
} from '../bundles/index.js';
import type { AgentConfig } from '../config/index.js';
import { diskFreeBytes, syncDirectory, systemCode } from '../host/index.js';
import { AgentError } from '../supervisor/errors.js';
import { readStatus } from '../supervisor/status-socket.js';
import type { Terminal } from './terminal.js';

/** What is left for everything else on the disk. */
const RESERVE_BYTES = 64 * 1024 ** 2;
const CHUNK_BYTES = 1024 ** 2;
const ANSWER_EVERY_MS = 200;
const SAY_EVERY_MS = 2_000;

/**
 * Hands a bundle to the agent of this device: copies it into the folder that the agent watches, since a stick is pulled out again and the agent may not
 * read where it is mounted. The agent checks it; what is plainly no bundle is refused before it is copied.
 *
 * @returns the exit status: 0 when the device took what was in it, or had it already
 * @throws BundleError, ImportError
 */
export async function importBundle(
  { dataDir }: AgentConfig,
  file: string,
  asJson: boolean,
  terminal: Terminal,
): Promise<number> {
  const bundle = await openBundle(file);
  await bundle.close();
  const { model, version } = bundle.contents.release;
  const freeBytes = await diskFreeBytes(dataDir);
  if (freeBytes < bundle.bytes + RESERVE_BYTES) throw noRoom(dataDir, bundle.bytes + RESERVE_BYTES - freeBytes);
  const folder = await preparedFolder(dataDir);
  const placed = join(folder, randomUUID());
  const say = asJson ? () => undefined : terminal.stderr;
  say(`Copying ${model} ${version}, ${inMiB(bundle.bytes)} MiB …\n`);
  await copy({ from: file, to: `${placed}.tmp`, dataDir, bytes: bundle.bytes, say });
  await rename(`${placed}.tmp`, `${placed}${IMPORT_SUFFIX}`);
  await syncDirectory(folder);
  if (!(await isRunning(dataDir))) {
    const what = `The agent does not run. It takes ${model} ${version} in when it starts; the stick can go.`;
    terminal.stdout(asJson ? `${JSON.stringify({ waiting: true })}\n` : `${what}\n`);
    return 0;
  }
  say('Copied; the stick can go. The agent reads it through and takes it in …\n');
  const answer = await answerTo(`${placed}${ANSWER_SUFFIX}`, dataDir);
  terminal.stdout(asJson ? `${JSON.stringify(answer)}\n` : `${inWords(answer)}\n`);
  return problemsOf(answer).length === 0 ? 0 : 1;
}

/** Owned by whoever owns the data folder, so that root can bring a bundle to an agent that is not root. */
async function preparedFolder(dataDir: string): Promise<string> {
  const folder = importFolder(dataDir);
  try {
    await mkdir(folder).catch((error: unknown) => {
      if (systemCode(error) !== 'EEXIST') throw error;
    });
    // No link: it would lead root to write elsewhere.
    if (!(await lstat(folder)).isDirectory()) throw new Error(`${folder} is no folder`);
    await giveTo(folder, dataDir);
    return folder;
  } catch (cause) {
    throw notAllowed(folder, cause);
  }
}

async function giveTo(path: string, dataDir: string): Promise<void> {
  const { uid, gid } = await stat(dataDir);
  const { uid: owner } = await lstat(path);
  if (owner !== uid) await chown(path, uid, gid);
}

interface Copy {
  readonly from: string;
  readonly to: string;
  readonly dataDir: string;
  readonly bytes: number;
  readonly say: (line: string) => void;
}

async function copy({ from, to, dataDir, bytes, say }: Copy): Promise<void> {
  const source = await open(from, 'r').catch((cause: unknown) => {
    throw bundleUnreadable(from, cause);
  });
  try {
    const target = await open(to, 'wx', 0o600).catch((cause: unknown) => {
      throw notAllowed(to, cause);
    });
    try {
      const buffer = Buffer.alloc(CHUNK_BYTES);
      let copied = 0;
      let saidAtMs = performance.now();
      for (;;) {
        const { bytesRead } = await source.read(buffer, 0, CHUNK_BYTES).catch((cause: unknown) => {
          throw bundleUnreadable(from, cause);
        });
        if (bytesRead === 0) break;
        await target.appendFile(buffer.subarray(0, bytesRead)).catch((cause: unknown) => {
          throw systemCode(cause) === 'ENOSPC' ? noRoom(to, 0) : notAllowed(to, cause);
        });
        copied += bytesRead;
        if (performance.now() - saidAtMs < SAY_EVERY_MS) continue;
        saidAtMs = performance.now();
        say(`  ${inMiB(copied)} of ${inMiB(bytes)} MiB\n`);
      }
      await target.sync();
    } finally {
      await target.close();
    }
    await giveTo(to, dataDir);
  } catch (error) {
    await rm(to, { force: true });
    throw error;
  } finally {
    await source.close();
  }
}

async function isRunning(dataDir: string): Promise<boolean> {
  try {
    await readStatus(dataDir);
    return true;
  } catch (error) {
    if (error instanceof AgentError && error.code === 'AGENT_NOT_RUNNING') return false;
    throw error;
  }
}

/** It reads a large bundle through before it answers, which takes as long as it takes; one that is gone answers no more. */
async function answerTo(file: string, dataDir: string): Promise<ImportAnswer> {
  for (let looks = 1; ; looks++) {
    try {
      const bytes = await readFile(file);
      await rm(file, { force: true });
      const refuse = (cause: unknown) =>
        new Error('The agent answered in a form that this command does not know.', { cause });
      return validate(ImportAnswer, parseJsonBytes(bytes, refuse), refuse);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
    }
    if (looks % 50 === 0) await readStatus(dataDir);
    await wait(ANSWER_EVERY_MS);
  }
}

function problemsOf(answer: ImportAnswer): CodedErrorJson[] {
  if ('error' in answer) return [withoutAbsent(answer.error)];
  return [answer.metadata, answer.recovery, answer.order].flatMap((outcome) =>
    outcome.result === 'refused' ? [withoutAbsent(outcome.error)] : [],
  );
}

const withoutAbsent = ({
  code,
  what,
  remedy,
  where,
}: {
  code: string;
  what: string;
  remedy: string;
  where?: string | undefined;
}): CodedErrorJson => ({
  code,
  what,
  remedy,
  ...(where === undefined ? {} : { where }),
});

function inWords(answer: ImportAnswer): string {
  const problems = problemsOf(answer).map(formatCodedError);
  if ('error' in answer) return ['Nothing of the bundle was taken.', ...problems].join('\n');
  const { release, metadata, order } = answer;
  return [
    `${release.model} ${release.version} is on this device.`,
    `  metadata: ${METADATA[metadata.result]}`,
    `  order: ${ORDER[order.result]}`,
    ...problems,
  ].join('\n');
}

const METADATA: Readonly<Record<ImportOutcome['result'], string>> = {
  taken: 'taken',
  known: 'older than what this device knows, so not needed',
  none: 'none',
  refused: 'refused',
};

const ORDER: Readonly<Record<ImportOutcome['result'], string>> = {
  taken: 'taken; watch it with `drover-agent status`. What runs is reported when there is a network',
  known: 'this device had it already; nothing changes',
  none: 'none for this device. The release is used when one comes',
  refused: 'refused',
};

const inMiB = (bytes: number): number => Math.ceil(bytes / 1024 ** 2);

const noRoom = (where: string, lacking: number) =>
  new ImportError(
    'IMPORT_DISK_FULL',
    `There is no room for the bundle${lacking > 0 ? `: ${inMiB(lacking)} MiB are missing` : ''}.`,
    {
      where,
      remedy: 'Make room on this disk, then import it again.',
    },
  );
const notAllowed = (where: string, cause: unknown) =>
  new ImportError('IMPORT_NOT_ALLOWED', `The agent cannot be given the bundle: ${(cause as Error).message}.`, {
    where,
    remedy: 'Do it as root, or as the user of the agent (sudo -u drover drover-agent import FILE).',
    cause,
  });
