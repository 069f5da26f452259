import type { Digest } from '@drover/shared/ids';
import type { Deployment, UpdateState } from '@drover/shared/protocol';
import type { ReleaseRef } from './accept.js';
import { UpdateError } from './errors.js';
import type { UpdateRecord } from './journal.js';
import { stateRow } from './states.js';

/** All that decides what happens next; nothing is read beyond it. */
export interface PlanFacts {
  readonly update?: UpdateRecord | undefined;
  /** An accepted order that was not begun. */
  readonly pending?: Deployment | undefined;
  readonly committed?: ReleaseRef | undefined;
  readonly isAdapted: boolean;
  /** What is in progress has come to its end by the terms of its order. */
  readonly isOver: boolean;
  /** Digest of the release that serves. */
  readonly running?: Digest | undefined;
}

/** Every step with its arguments; the union below and the executors derive from this map. */
export interface StepArguments {
  rest: object;
  begin: { readonly order: Deployment };
  'fail-with': { readonly error: UpdateError };
  'recognize-running': object;
  'recognize-over': object;
  'start-fetching': object;
  fetch: object;
  verify: object;
  stage: object;
  'self-test': object;
  activate: object;
  observe: object;
  commit: object;
  'fall-back': { readonly wasActivated: boolean };
  'clean-up': object;
}
export type StepKind = keyof StepArguments;
export type Step = { [Kind in StepKind]: { readonly kind: Kind } & StepArguments[Kind] }[StepKind];

/** Unclean stops in states where the candidate may be their cause, after which the device no longer tries it. */
const MAX_INTERRUPTIONS = 3;

const STEP_OF_STATE = {
  fetching: 'fetch',
  verifying: 'verify',
  staging: 'stage',
  'self-testing': 'self-test',
  activating: 'activate',
  probation: 'observe',
  committing: 'commit',
  'cleaning-up': 'clean-up',
} as const satisfies Partial<Record<UpdateState, StepKind>>;

/**
 * May a newer order interrupt this update? What is about to be committed was found healthy, so the newer order starts from it, and what is
 * being taken back is taken back first. A signed way back that serves already runs to its end: to interrupt it would be to fall back to the very
 * release that the director took away.
 */
export function isSupersedable({ state, deployment }: Pick<UpdateRecord, 'state' | 'deployment'>): boolean {
  if (['committing', 'falling-back', 'cleaning-up'].includes(state) || stateRow(state).on.failed === undefined)
    return false;
  return !(deployment.downgrade && ['activating', 'probation'].includes(state));
}

/** The next step for one model. */
export function planStep({ update, pending, committed, isAdapted, isOver, running }: PlanFacts): Step {
  if (!update) return pending ? { kind: 'begin', order: pending } : { kind: 'rest' };
  const { state, deployment } = update;
  if (state === 'falling-back') return { kind: 'fall-back', wasActivated: update.activated };
  if (stateRow(state).mayCrashDevice && update.interruptions >= MAX_INTERRUPTIONS) {
    return { kind: 'fail-with', error: rebootLoop(update) };
  }
  if (pending && isSupersedable(update)) return { kind: 'fail-with', error: superseded(pending) };
  if (state !== 'received') return { kind: STEP_OF_STATE[state] };
  if (isOver) return { kind: 'recognize-over' };
  const { digest } = deployment.release;
  const runsAsOrdered = committed?.digest === digest && running === digest && !isAdapted;
  return { kind: runsAsOrdered ? 'recognize-running' : 'start-fetching' };
}

const rebootLoop = ({ deployment, state, interruptions }: UpdateRecord) =>
  new UpdateError(
    'UPDATE_REBOOT_LOOP',
    `The agent or the device stopped ${interruptions} times while it tried ${deployment.model} ${deployment.release.version} (${state}).`,
    {
      remedy:
        'Look at the log of the device (journalctl, dmesg) for why it stopped, then publish a release that it can bear.',
    },
  );

const superseded = (pending: Deployment) =>
  new UpdateError('UPDATE_SUPERSEDED', `A newer order arrived: ${pending.model} ${pending.release.version}.`, {
    remedy: 'Nothing: the device carries out the newer order.',
  });
