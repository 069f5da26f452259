import type { ModelName } from '@drover/shared/ids';
import type { BaseModel } from './base-model.js';
import type { LastOutcome, ModelRecord } from './journal.js';
import { kindFor, type Runners } from './kinds/index.js';
import type { ModelJournal } from './model-journal.js';
import type { StepArguments, StepKind } from './plan.js';
import { toReportableError } from './reportable.js';
import { failed, isUntrusted, type StepResult } from './step-result.js';
import {
  activateCandidate,
  expectationOf,
  fetchRelease,
  observeProbation,
  selfTest,
  stageRelease,
  verifyRelease,
  type StepContext,
} from './steps.js';
import { isSameRelease } from './store.js';

/** One for each step that `planStep` can name. */
export type Executors = {
  [Kind in Exclude<StepKind, 'rest'>]: (args: StepArguments[Kind], context: StepContext) => Promise<StepResult>;
};

export interface ExecutorOptions {
  readonly model: ModelName;
  readonly base: BaseModel;
  readonly journal: ModelJournal;
  readonly runners: Runners;
  /** Nothing depends on it: what keeps garbage from being removed is reported, and does not fail the step. */
  readonly collectGarbage: () => void;
}

/** Carries out the steps of one model's update. Each may be cut at any point and carried out again; what failed is thrown. */
export function createExecutors({ model, base, journal, runners, collectGarbage }: ExecutorOptions): Executors {
  return {
    begin: ({ order }) =>
      Promise.resolve({
        event: 'accepted',
        reason: `order ${order.epoch}.${order.counter}`,
        begins: order,
        toRecord: ({ pending, ...record }) =>
          pending && pending.deploymentId !== order.deploymentId ? { ...record, pending } : record,
      }),
    'fail-with': ({ error }) => Promise.resolve(failed(error)),
    'recognize-running': () =>
      Promise.resolve({ event: 'already-running', reason: 'the ordered release already serves' }),
    'recognize-over': () => Promise.resolve({ event: 'already-running', reason: 'its time is over' }),
    'start-fetching': () => {
      const unable = kindFor(model).unable(runners);
      if (unable) throw unable;
      return Promise.resolve({ event: 'done', reason: 'not on this device as ordered' });
    },
    fetch: async (_, context) => ({
      event: 'done',
      ...(await fetchRelease(context, wasCommitted(journal.record, context))),
    }),
    verify: async (_, context) => ({ event: 'done', ...(await verifyRelease(context)) }),
    stage: async (_, context) => ({ event: 'done', ...(await stageRelease(context)) }),
    'self-test': async (_, context) => ({ event: 'done', ...(await selfTest(context)) }),
    activate: async (_, context) => {
      journal.write('activate', { update: { ...journal.inProgress(), activated: true } });
      const { candidate, reason } = await activateCandidate(context);
      base.nowServes(candidate);
      return { event: 'done', reason };
    },
    observe: async (_, context) => {
      await ensureCandidateServes(base, context);
      return { event: 'done', ...(await observeProbation(context)) };
    },
    commit: (_, context) => commit(model, context),
    'fall-back': async ({ wasActivated }, { signal }) => {
      const isUndone = wasActivated && !base.isServed();
      const reason = isUndone ? await base.activate(signal) : 'the candidate does not serve';
      return { event: 'done', reason };
    },
    'clean-up': (_, { deployment }) => {
      collectGarbage();
      const error = journal.inProgress().error ?? toReportableError(new Error('no error was journaled'));
      const outcome = isUntrusted(error) ? 'refused' : 'fell-back';
      const { deploymentId, release } = deployment;
      const lastOutcome: LastOutcome = { deploymentId, release, outcome, error };
      return Promise.resolve({
        event: 'done',
        reason: `${outcome}: ${error.code}`,
        error,
        toRecord: (record) => ({ ...record, lastOutcome }),
      });
    },
  };
}

/** Activates the candidate unless it serves already, which after a restart it does not. */
export async function ensureCandidateServes(base: BaseModel, context: StepContext): Promise<void> {
  if (isSameRelease(base.serving()?.release, context.deployment.release)) return;
  base.nowServes((await activateCandidate(context)).candidate);
}

/** Going back to it needs no news from the publishers, if they have none. */
const wasCommitted = ({ committed, previous }: ModelRecord, { deployment: { release } }: StepContext): boolean =>
  isSameRelease(committed, release) || isSameRelease(previous, release);

async function commit(model: ModelName, context: StepContext): Promise<StepResult> {
  const { deployment, store } = context;
  const { deploymentId, release } = deployment;
  const lastOutcome: LastOutcome = { deploymentId, release, outcome: 'committed' };
  const { restore } = kindFor(model);
  if (restore.by === 'ending') {
    await restore.end(model, context);
    return {
      event: 'done',
      reason: `${release.version} has ended`,
      toRecord: (current) => ({ ...current, lastOutcome }),
    };
  }
  const candidate = await store.load(expectationOf(deployment, context));
  const { revertFloor } = candidate.manifest;
  // Before the journal says so: cut in between, the same step does it again.
  kindFor(model).commit(candidate, context);
  const toRecord = (current: ModelRecord): ModelRecord => {
    const { committed, previous, lastOutcome: _, adaptation: _dropped, revertFloor: _older, ...rest } = current;
    const older = isSameRelease(committed, release) ? previous : committed;
    return {
      ...rest,
      committed: release,
      ...(older && { previous: older }),
      ...(revertFloor !== undefined && { revertFloor }),
      lastOutcome,
    };
  };
  return { event: 'done', reason: `${release.version} is committed`, toRecord };
}
