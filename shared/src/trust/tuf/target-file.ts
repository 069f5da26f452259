import { createHash } from 'node:crypto';
import type { MetaFile, TargetEntry } from './documents.js';
import { TufError } from './errors.js';

/** What the repository says about one target, and which role said so. */
export interface TargetFile extends TargetEntry {
  readonly path: string;
  readonly role: string;
}

/** The algorithms that the specification and its reference implementation use. */
const ALGORITHMS = ['sha256', 'sha512'];

/**
 * Every hash that is listed has to hold: one of an unknown kind cannot be verified, so it refuses the file.
 * Undefined where length and hashes fit, else what differs.
 */
export function differenceFrom({ length, hashes }: Pick<MetaFile, 'length' | 'hashes'>, bytes: Uint8Array) {
  if (length !== undefined && length !== bytes.length) return `it has ${bytes.length} bytes instead of ${length}`;
  for (const [algorithm, expected] of Object.entries(hashes ?? {})) {
    if (!ALGORITHMS.includes(algorithm)) return `its hash is of the unknown kind ${JSON.stringify(algorithm)}`;
    if (createHash(algorithm).update(bytes).digest('hex') !== expected) return `its ${algorithm} is another`;
  }
  return undefined;
}

/**
 * Section 5.7.3, for a target that fits into memory.
 *
 * @throws TufError TUF_TARGET_MISMATCH
 */
export function verifyTargetBytes(target: TargetFile, bytes: Uint8Array): void {
  const difference = differenceFrom(target, bytes);
  if (difference === undefined) return;
  throw new TufError('TUF_TARGET_MISMATCH', `${target.path} is not what ${target.role} lists: ${difference}.`, {
    section: '5.7.3',
    where: target.path,
  });
}
