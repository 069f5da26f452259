import type { CodedErrorJson } from '@drover/shared/coded-error';
import type { Db } from '../database/index.js';
import { repositoryState } from './expiry.js';
import { metadataFiles } from './metadata-files.js';
import type { ReleaseRepository } from './repository.js';

export interface KeeperOptions {
  readonly db: Db;
  readonly repository: ReleaseRepository;
  readonly now: () => number;
  /** What somebody has to do before a role expires; told at the start and once a day. */
  readonly onProblem: (problem: CodedErrorJson) => void;
  readonly onError: (error: unknown) => void;
  readonly intervalMs?: number;
}

const HOUR_MS = 3_600_000;
const TELL_EVERY_MS = 24 * HOUR_MS;

/** Keeps timestamp and snapshot fresh, and warns in time of what people have to sign. The first look is taken before it resolves. */
export async function startKeeper(options: KeeperOptions): Promise<{ close(): Promise<void> }> {
  const { db, repository, now, onProblem, onError, intervalMs = HOUR_MS } = options;
  const toldAt = new Map<string, number>();
  let looking: Promise<void> = Promise.resolve();

  async function look(): Promise<void> {
    // A key that is missing is a problem of its own; what expires is told all the same.
    await repository.refresh().catch(onError);
    const { exists, problems } = repositoryState(await metadataFiles(db).current(), now());
    if (!exists) return;
    for (const problem of problems) {
      const name = `${problem.code} ${problem.where ?? ''}`;
      if (now() - (toldAt.get(name) ?? -Infinity) < TELL_EVERY_MS) continue;
      toldAt.set(name, now());
      onProblem(problem);
    }
  }

  const next = (): Promise<void> => (looking = looking.then(look).catch(onError));
  await next();
  const timer = setInterval(() => void next(), intervalMs);
  return {
    async close() {
      clearInterval(timer);
      await looking;
    },
  };
}
