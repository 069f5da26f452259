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

const Mirror = Type.Object({
  format: Type.Literal('drover.journal-mirror/1'),
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

/** The part of the journal whose loss would reopen the device to replays or leave it without a model. */
export interface MirrorContent {
  readonly timeFloorMs: number;
  readonly recovery: RecoveryFact | undefined;
  readonly models: ReadonlyMap<ModelName, ModelRecord>;
}

const mirrorFile = (dataDir: string): string => join(dataDir, 'journal-mirror.json');

/** Written after each commit of the journal that changes this part; read only when the journal had to be rebuilt. */
export function writeMirror(dataDir: string, { timeFloorMs, recovery, models }: MirrorContent): void {
  const mirror: Static<typeof Mirror> = {
    format: 'drover.journal-mirror/1',
    timeFloorMs,
    ...(recovery && { recovery }),
    models: [...models].map(([model, { accepted, committed, previous, revertFloor, adaptation }]) => ({
      model,
      ...(accepted && { accepted }),
      ...(committed && { committed }),
      ...(previous && { previous }),
      ...(revertFloor !== undefined && { revertFloor }),
      ...(adaptation && { adaptation }),
    })),
  };
  writeDurablySync(mirrorFile(dataDir), `${JSON.stringify(mirror)}\n`);
}

/** Empty when there is none or it can't be read either: the device then starts afresh and is told by the control plane what to run. */
export function readMirror(dataDir: string): MirrorContent {
  const empty: MirrorContent = { timeFloorMs: 0, recovery: undefined, models: new Map() };
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(mirrorFile(dataDir), 'utf8'));
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || error instanceof SyntaxError) return empty;
    throw error;
  }
  try {
    const { timeFloorMs, recovery, models } = validate(Mirror, json, () => new SyntaxError('not a journal mirror'));
    return { timeFloorMs, recovery, models: new Map(models.map(({ model, ...record }) => [model, record])) };
  } catch (error) {
    if (error instanceof SyntaxError) return empty;
    throw error;
  }
}
