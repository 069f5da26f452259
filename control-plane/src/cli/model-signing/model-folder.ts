import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { CliError } from '../errors.js';
import { ModelSignatureError } from './errors.js';
import type { SignedModel } from './statement.js';

/** Path of the resource when the signed model is a single file. */
const SINGLE_FILE = '.';
const MAX_NAMED = 5;

/** Where the files of a signed model lie. */
export interface ModelFiles {
  /** The file that is published. */
  readonly modelFile: string;
  /** The folder that was signed; that of the model file unless told otherwise. */
  readonly folder?: string | undefined;
  /** Never a part of the model that it signs. */
  readonly signatureFile: string;
}

/**
 * Compares the files on the disk with those that were signed: every one there, none more, each with its digest. What the signer excluded
 * (`ignore_paths`) is passed over, but never the model file itself.
 *
 * @returns hex SHA-256 of the model file
 * @throws ModelSignatureError MODEL_SIGNATURE_FILES_DIFFER; CliError CLI_FILE_UNREADABLE
 */
export async function compareFiles(signed: SignedModel, where: ModelFiles): Promise<string> {
  if (signed.files.size === 1 && signed.files.has(SINGLE_FILE)) {
    const found = await hashFile(where.modelFile);
    if (found !== signed.files.get(SINGLE_FILE)) throw differ(where.modelFile, ['changed: the file itself']);
    return found;
  }
  const folder = resolve(where.folder ?? dirname(where.modelFile));
  const modelPath = toPosix(relative(folder, resolve(where.modelFile)));
  const present = new Set(await listFiles(folder, signed, where.signatureFile));
  const differences: string[] = [];
  if (!signed.files.has(modelPath)) differences.push(`not signed: ${modelPath}`);
  for (const path of present)
    if (path !== modelPath && !signed.files.has(path)) differences.push(`not signed: ${path}`);
  for (const path of signed.files.keys()) if (!present.has(path)) differences.push(`missing: ${path}`);
  if (differences.length > 0) throw differ(folder, differences);
  let modelDigest = '';
  for (const [path, digest] of signed.files) {
    // The path is one that was found below the folder, never one that the statement alone names.
    const found = await hashFile(join(folder, path));
    if (found !== digest) differences.push(`changed: ${path}`);
    if (path === modelPath) modelDigest = found;
  }
  if (differences.length > 0) throw differ(folder, differences);
  return modelDigest;
}

async function listFiles(folder: string, signed: SignedModel, signatureFile: string): Promise<string[]> {
  const ignored = signed.ignoredPaths.map((path) => toPosix(path).replace(/\/+$/, ''));
  const signature = await realpath(signatureFile);
  const isIgnored = (path: string) => ignored.some((prefix) => path === prefix || path.startsWith(`${prefix}/`));
  const files: string[] = [];
  const waiting = [''];
  for (let below = waiting.pop(); below !== undefined; below = waiting.pop()) {
    for (const entry of await unreadable(folder, () => readdir(join(folder, below), { withFileTypes: true }))) {
      const path = below === '' ? entry.name : `${below}/${entry.name}`;
      const file = join(folder, path);
      if (isIgnored(path)) continue;
      if (entry.isDirectory()) waiting.push(path);
      else if (entry.isFile()) {
        if ((await realpath(file)) !== signature) files.push(path);
      } else if (!entry.isSymbolicLink() || !signed.allowsLinks) {
        throw differ(folder, [`neither file nor folder: ${path}`]);
      } else if ((await unreadable(file, () => stat(file))).isFile()) files.push(path);
    }
  }
  return files;
}

function hashFile(file: string): Promise<string> {
  return unreadable(file, async () => {
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
    return hash.digest('hex');
  });
}

async function unreadable<Result>(where: string, read: () => Promise<Result>): Promise<Result> {
  try {
    return await read();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CliError('CLI_FILE_UNREADABLE', `What was signed cannot be read: ${why}.`, {
      where,
      remedy: 'Check its name and its permissions.',
      cause,
    });
  }
}

const toPosix = (path: string): string => path.split(sep).join('/');

function differ(where: string, differences: readonly string[]): ModelSignatureError {
  const more = differences.length > MAX_NAMED ? ` and ${differences.length - MAX_NAMED} more` : '';
  return new ModelSignatureError(
    'MODEL_SIGNATURE_FILES_DIFFER',
    `The files of ${basename(where)} are not those that were signed: ${differences.slice(0, MAX_NAMED).join('; ')}${more}.`,
    {
      where,
      remedy:
        'Restore the files as they were signed, name the folder that was signed with --oms-folder, or have the model signed again.',
    },
  );
}
