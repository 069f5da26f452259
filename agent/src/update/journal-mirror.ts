import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Type, type Static } from 'typebox';
import { DIGEST_PATTERN, NAME_PATTERN, type Digest, type ModelName, type Version } from '@drover/shared/ids';
import { validate } from '@drover/shared/validation';
import { systemCode, writeDurablySync } from '../host/index.js';
import { KeySet } from '@drover/shared/trust';
import type { ModelRecord, RecoveryFact } from './journal.js';

const count = Type.Integer({ minimum: 0 });
const digest = Type.Unsafe<Digest>(Type.String({ pattern: DIGEST_PATTERN }));
const release = Type.Object({ version: Type.Unsafe<Version>(Type.String()), digest });

const Content = Type.Object({
  /** Of the journal at the time of writing. */
  revision: count,
  timeFloorMs: Type.Number(),
  recovery: Type.Optional(Type.Object({ epoch: count, director: KeySet })),
  models: Type.Array(
    Type.Object({
      model: Type.Unsafe<ModelName>(Type.String({ pattern: NAME_PATTERN })),
      accepted: Type.Optional(Type.Object({ epoch: count, counter: count })),
      committed: Type.Optional(release),
      previous: Type.Optional(release),
      revertFloor: Type.Optional(Type.Unsafe<Version>(Type.String())),
      adaptation: Type.Optional(Type.Object({ digest })),
    }),
  ),
});
type Content = Static<typeof Content>;

const Mirror = Type.Object({
  format: Type.Literal('drover.journal-mirror/2'),
  /** Of the content's text. A flipped bit leaves JSON that can be read and says something else. */
  sha256: Type.String(),
  content: Type.String(),
});

/** The part of the journal whose loss would reopen the device to replays or leave it without a model. */
export interface MirrorContent {
  readonly revision: number;
  readonly timeFloorMs: number;
  readonly recovery: RecoveryFact | undefined;
  readonly models: ReadonlyMap<ModelName, MirroredRecord>;
}
export type MirroredRecord = Pick<ModelRecord, 'accepted' | 'committed' | 'previous' | 'revertFloor' | 'adaptation'>;

const mirrorFile = (dataDir: string): string => join(dataDir, 'journal-mirror.json');
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

export const toMirrored = ({
  accepted,
  committed,
  previous,
  revertFloor,
  adaptation,
}: ModelRecord): MirroredRecord => ({
  ...(accepted && { accepted }),
  ...(committed && { committed }),
  ...(previous && { previous }),
  ...(revertFloor !== undefined && { revertFloor }),
  ...(adaptation && { adaptation }),
});

/** Written after each commit of the journal that changes this part. */
export function writeMirror(dataDir: string, { revision, timeFloorMs, recovery, models }: MirrorContent): void {
  const mirrored: Content = {
    revision,
    timeFloorMs,
    ...(recovery && { recovery }),
    models: [...models].map(([model, record]) => ({ model, ...toMirrored(record) })),
  };
  const content = JSON.stringify(mirrored);
  const mirror: Static<typeof Mirror> = { format: 'drover.journal-mirror/2', sha256: sha256(content), content };
  writeDurablySync(mirrorFile(dataDir), `${JSON.stringify(mirror)}\n`);
}

/** Revision 0 and empty when there is none or it can't be believed: the control plane then tells the device what to run. */
export function readMirror(dataDir: string): MirrorContent {
  const unreadable = (): SyntaxError => new SyntaxError('not a journal mirror');
  try {
    const text: unknown = JSON.parse(readFileSync(mirrorFile(dataDir), 'utf8'));
    const mirror = validate(Mirror, text, unreadable);
    if (sha256(mirror.content) !== mirror.sha256) throw unreadable();
    const { revision, timeFloorMs, recovery, models } = validate(Content, JSON.parse(mirror.content), unreadable);
    return { revision, timeFloorMs, recovery, models: new Map(models.map(({ model, ...record }) => [model, record])) };
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || error instanceof SyntaxError)
      return { revision: 0, timeFloorMs: 0, recovery: undefined, models: new Map() };
    throw error;
  }
}
