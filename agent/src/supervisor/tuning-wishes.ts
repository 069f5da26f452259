import { mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Type, type Static } from 'typebox';
import { DIGEST_PATTERN, NAME_PATTERN, type Digest, type ModelName } from '@drover/shared/ids';
import { formatProblems, validate } from '@drover/shared/validation';
import { systemCode, writeDurablySync } from '../host/index.js';

const TuningWish = Type.Object({
  model: Type.Unsafe<ModelName>(Type.String({ pattern: NAME_PATTERN })),
  /** Digest of the model file that ran when the alarm was raised. */
  base: Type.Unsafe<Digest>(Type.String({ pattern: DIGEST_PATTERN })),
  /** The alarm's time: samples from then on count. */
  sinceMs: Type.Integer(),
  /** After an inconclusive attempt: twice the samples of that one. */
  atLeast: Type.Integer({ minimum: 0 }),
  /** Trainings begun without an outcome; what takes the whole device down must not be tried for ever. */
  attempts: Type.Integer({ minimum: 0 }),
  /** Kept so that the same alarm is not tuned for again after a restart. */
  done: Type.Boolean(),
});
export type TuningWish = Static<typeof TuningWish>;

const Wishes = Type.Object({
  format: Type.Literal('drover.tuning-wishes/1'),
  wishes: Type.Array(TuningWish),
});

/** Which model shall be fine-tuned for which alarm. At most one wish per model; it survives restarts. */
export interface TuningWishes {
  all(): TuningWish[];
  of(model: ModelName): TuningWish | undefined;
  put(wish: TuningWish): void;
  remove(model: ModelName): void;
}

/** @param onProblem a file that cannot be read begins anew, one that cannot be written is kept in memory alone */
export function openTuningWishes(dataDir: string, onProblem: (error: unknown) => void): TuningWishes {
  const file = join(dataDir, 'tuning', 'wishes.json');
  const wishes = new Map<ModelName, TuningWish>();
  try {
    for (const wish of read(file)) wishes.set(wish.model, wish);
  } catch (error) {
    onProblem(error);
  }
  const save = (): void => {
    try {
      mkdirSync(dirname(file), { recursive: true });
      writeDurablySync(file, JSON.stringify({ format: 'drover.tuning-wishes/1', wishes: [...wishes.values()] }));
    } catch (error) {
      onProblem(error);
    }
  };
  return {
    all: () => [...wishes.values()],
    of: (model) => wishes.get(model),
    put(wish) {
      wishes.set(wish.model, wish);
      save();
    },
    remove(model) {
      if (wishes.delete(model)) save();
    },
  };
}

function read(file: string): TuningWish[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
  return validate(Wishes, JSON.parse(text), (problems) => new Error(`${file}: ${formatProblems(problems)}`)).wishes;
}
