import { Type, type Static } from 'typebox';
import { formatProblems, parseJsonBytes, validate } from '@drover/shared/validation';
import { RecoveryError } from './errors.js';

export const BACKUP_FORMAT = 'drover.backup/1';
/** Written last: a folder without it is an unfinished backup. */
export const BACKUP_DOCUMENT = 'backup.json';
/** There from the first moment to the last: only a folder with it may be written on. */
export const UNFINISHED_MARK = 'backup.unfinished';
export const DATABASE_FILE = 'control-plane.sqlite';

/** Relative to the data directory; never absolute, never upwards. */
const path = Type.String({ pattern: '^(?!.*(^|/)\\.\\.?(/|$))[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$', maxLength: 500 });

export const BackupDocument = Type.Object(
  {
    format: Type.Literal(BACKUP_FORMAT),
    /** When the database was copied, milliseconds since 1970: what happened later is not in this backup. */
    takenAt: Type.Integer({ minimum: 0 }),
    version: Type.String({ maxLength: 64 }),
    files: Type.Array(
      Type.Object(
        { path, bytes: Type.Integer({ minimum: 0 }), sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }) },
        { additionalProperties: false },
      ),
      { minItems: 1 },
    ),
  },
  { additionalProperties: false },
);
export type BackupDocument = Static<typeof BackupDocument>;

/** @throws RecoveryError BACKUP_INVALID */
export function parseBackupDocument(bytes: Uint8Array, where: string): BackupDocument {
  const refuse = (why: string, cause?: unknown) =>
    new RecoveryError('BACKUP_INVALID', `This is no finished backup: ${why}.`, {
      where,
      remedy:
        'Name a folder that `drover backup` wrote to its end; an interrupted one can be finished by the same command.',
      cause,
    });
  return validate(BackupDocument, parseJsonBytes(bytes, refuse), (problems) => refuse(formatProblems(problems)));
}
