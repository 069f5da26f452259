import type { Digest } from '@drover/shared/ids';
import { UpdateError } from '../update/errors.js';
import { SourceError, type SourceCode } from './errors.js';

const CODE_OF: Readonly<Record<string, SourceCode>> = {
  FETCH_UNREACHABLE: 'MIRROR_UNREACHABLE',
  FETCH_INTERRUPTED: 'MIRROR_UNREACHABLE',
  FETCH_STALLED: 'MIRROR_SLOW',
  FETCH_TOO_SLOW: 'MIRROR_SLOW',
  FETCH_UNAUTHORIZED: 'MIRROR_REFUSED',
  FETCH_ANSWER_INVALID: 'MIRROR_REFUSED',
  FETCH_TOO_LARGE: 'MIRROR_WRONG',
  FETCH_DIGEST_MISMATCH: 'MIRROR_WRONG',
  TUF_ROLLBACK: 'MIRROR_STALE',
  TUF_EXPIRED: 'MIRROR_STALE',
  TUF_NOT_FOUND: 'MIRROR_STALE',
};

const REMEDIES: Readonly<Record<SourceCode, string>> = {
  MIRROR_UNREACHABLE: 'The device went on without it. Check that the mirror runs, and the network of the site.',
  MIRROR_SLOW:
    'The device went on without it. Look at the mirror and its link; where the link is as slow as that, lower "download.mirrorMinBytesPerSecond".',
  MIRROR_REFUSED:
    'The device went on without it. Check the address in "mirrors", and whether the mirror lets devices in.',
  MIRROR_STALE:
    'The device goes by what it has seen already. Check whether the mirror reaches the control plane, and empty its cache.',
  MIRROR_WRONG:
    'The device threw it away and went on without the mirror. Empty its cache; if it happens again, look for who changes files there.',
};

const blame = (code: SourceCode, name: string, why: string, cause?: unknown) =>
  new SourceError(code, `The ${name} was passed over: ${why}`, { where: name, remedy: REMEDIES[code], cause });

/** Why this origin was passed over; undefined where it just does not have what was asked for, which is no fault. */
export function toBlame(name: string, error: unknown): SourceError | undefined {
  if (error instanceof SourceError) return error;
  if (error instanceof UpdateError && error.code === 'FETCH_NOT_FOUND') return undefined;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const why = error instanceof Error ? error.message : String(error);
  if (error instanceof Error && error.name === 'TimeoutError') return blame('MIRROR_SLOW', name, why, error);
  // Metadata that is wrong in any other way than old was not made by those who sign it.
  return blame(CODE_OF[code] ?? (code.startsWith('TUF_') ? 'MIRROR_WRONG' : 'MIRROR_UNREACHABLE'), name, why, error);
}

export const tooSlow = (name: string, minBytesPerSecond: number) =>
  blame('MIRROR_SLOW', name, `it was silent, or gave less than ${minBytesPerSecond} bytes per second.`);
export const tooLate = (name: string, limitMs: number) =>
  blame('MIRROR_SLOW', name, `it gave no whole answer within ${limitMs} ms.`);
export const brokeOff = (name: string, bytes: number) =>
  blame('MIRROR_UNREACHABLE', name, `its answer ended after ${bytes} bytes.`);
export const wrongBytes = (name: string, digest: Digest) =>
  blame('MIRROR_WRONG', name, `it gave other bytes under the name ${digest}.`);
