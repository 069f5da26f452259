import type { Digest, RolloutId } from '@drover/shared/ids';
import type { ReleaseManifest } from '@drover/shared/manifest';
import type { Db } from '../database/index.js';
import type { Director, OrderTable } from '../director/index.js';
import { RegistryError, releases } from '../registry/index.js';
import { createRollout } from './create.js';
import { decide } from './decide.js';
import { RolloutError } from './errors.js';
import { changeRolloutState, execute } from './execute.js';
import { activeRollouts, loadFacts, rolloutRow, type RolloutRow } from './load-facts.js';
import type { RolloutRequest } from './request.js';
import { currentRun, observeRun } from './stage-run.js';
import type { RolloutEvent } from './states.js';

export interface EngineOptions {
  readonly db: Db;
  readonly director: Pick<Director, 'issue' | 'send'>;
  /** While a restored control plane waits for its recovery, nothing is decided, and nothing that orders is taken. */
  readonly recovery: { isPending(): boolean; verifyEnded(): void };
  readonly now: () => number;
  /** Is told of what went wrong in the background; the engine goes on with the next look. */
  readonly onError: (error: unknown) => void;
  /** How often it looks without being told that something happened. */
  readonly intervalMs?: number;
  /** Reports that arrive within this time are looked at together. */
  readonly nudgeMs?: number;
}

export interface RolloutEngine {
  create(request: RolloutRequest, by: string): Promise<RolloutId>;
  pause(id: RolloutId, by: string): Promise<void>;
  resume(id: RolloutId, by: string): Promise<void>;
  abort(id: RolloutId, how: { readonly revert: boolean; readonly reason: string; readonly by: string }): Promise<void>;
  /** Something was reported: look soon. */
  nudge(): void;
  /** Looks at every rollout now, and resolves when there is nothing left to do at this time. */
  tick(): Promise<void>;
  /** Waits for the step in progress; what is left is taken up after the next start. */
  close(): Promise<void>;
}

const DEFAULT_INTERVAL_MS = 1000;
const DEFAULT_NUDGE_MS = 100;
/** Steps lead to states in which nothing is to be done; more rounds than this mean that two of them undo each other. */
const MAX_ROUNDS = 10_000;

/**
 * Carries rollouts forward.
 *
 * INVARIANTS. One look or operator's action at a time: both go through one queue. Every decision is made from the database alone, and every step
 * is one transaction, so that a process killed anywhere resumes with the step that was not committed. An order is stored before it is sent;
 * one that was stored and not sent goes out when its device reports.
 */
export function startEngine(options: EngineOptions): RolloutEngine {
  const {
    db,
    director,
    recovery,
    now,
    onError,
    intervalMs = DEFAULT_INTERVAL_MS,
    nudgeMs = DEFAULT_NUDGE_MS,
  } = options;
  const manifests = new Map<Digest, ReleaseManifest>();
  let queue: Promise<unknown> = Promise.resolve();
  let isClosed = false;
  let nudged: NodeJS.Timeout | undefined;

  const exclusively = <Result>(work: () => Promise<Result>): Promise<Result> => {
    const turn = queue.then(work);
    queue = turn.catch(() => undefined);
    return turn;
  };

  const manifestOf = async (digest: Digest): Promise<ReleaseManifest> => {
    const known = manifests.get(digest);
    if (known) return known;
    const release = await releases(db).findByDigest(digest);
    if (!release) {
      throw new RegistryError('RELEASE_UNKNOWN', `The release ${digest} of a rollout is not in the registry.`, {
        remedy: 'Restore the backup that holds it, or abort the rollout.',
      });
    }
    manifests.set(digest, release.manifest);
    return release.manifest;
  };

  const send = async (orders: readonly OrderTable[]): Promise<void> => {
    for (const order of orders) {
      try {
        await director.send(order);
      } catch (error) {
        onError(error);
      }
    }
  };

  const carryForward = async (id: RolloutId): Promise<void> => {
    for (let round = 0; round < MAX_ROUNDS && !isClosed; round++) {
      const rollout = await rolloutRow(db, id);
      if (!rollout) return;
      if (rollout.state === 'running' || rollout.state === 'paused') await observeRun(db, rollout, now());
      const steps = decide(await loadFacts(db, rollout, manifestOf, now()));
      if (steps.length === 0) return;
      const context = { director, manifest: await manifestOf(rollout.digest), now };
      for (const step of steps) await send(await execute(db, rollout, step, context));
    }
    if (!isClosed) throw new Error(`Rollout ${id} does not come to rest.`);
  };

  const look = async (): Promise<void> => {
    if (recovery.isPending()) return;
    for (const { id } of await activeRollouts(db)) {
      if (isClosed) return;
      try {
        await carryForward(id);
      } catch (error) {
        onError(error);
      }
    }
  };

  const tick = (): Promise<void> => exclusively(look);
  const tickInBackground = (): void => {
    tick().catch(onError);
  };
  const timer = setInterval(tickInBackground, intervalMs);

  const nudge = (): void => {
    if (isClosed || nudged) return;
    nudged = setTimeout(() => {
      nudged = undefined;
      tickInBackground();
    }, nudgeMs);
  };

  const act = async (
    id: RolloutId,
    change: { event: RolloutEvent; reason: string; actor: string },
    also?: (trx: Db, rollout: RolloutRow) => Promise<void>,
  ): Promise<void> => {
    await exclusively(() =>
      db.transaction().execute(async (trx) => {
        const rollout = await rolloutRow(trx, id);
        if (!rollout) throw unknownRollout(id);
        await changeRolloutState(trx, rollout, { ...change, atMs: now() });
        await also?.(trx, rollout);
      }),
    );
    nudge();
  };

  return {
    async create(request, by) {
      recovery.verifyEnded();
      const id = await exclusively(() => createRollout(db, request, by, now()));
      nudge();
      return id;
    },
    pause: (id, by) => act(id, { event: 'pause', reason: `${by} paused it.`, actor: by }),
    resume: (id, by) =>
      act(id, { event: 'resume', reason: `${by} resumed it.`, actor: by }, async (trx, rollout) => {
        // The gate's clock stood still while it was paused.
        const run = await currentRun(trx, id, rollout.stage);
        if (!run) return;
        const startedAt = run.startedAt + (now() - rollout.updated_at);
        await trx.updateTable('rollout_stages').set({ started_at: startedAt }).where('id', '=', run.id).execute();
      }),
    abort: (id, { revert, reason, by }) =>
      act(id, { event: revert ? 'revert' : 'abort', reason: `${by} aborted it: ${reason}`, actor: by }, (trx) =>
        trx
          .updateTable('rollout_stages')
          .set({ decided_at: now() })
          .where('rollout_id', '=', id)
          .where('decided_at', 'is', null)
          .execute()
          .then(() => undefined),
      ),
    nudge,
    tick,
    async close() {
      isClosed = true;
      clearInterval(timer);
      clearTimeout(nudged);
      await queue;
    },
  };
}

export const unknownRollout = (id: RolloutId) =>
  new RolloutError('ROLLOUT_UNKNOWN', `There is no rollout with the id ${id}.`, {
    remedy: 'Look for it in `drover rollout list`.',
  });
