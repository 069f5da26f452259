import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const UPDATE_CODES = {
  DEPLOYMENT_WRONG_DEVICE: { fault: 'peer', retryable: false },
  DEPLOYMENT_WRONG_HARDWARE: { fault: 'peer', retryable: false },
  DEPLOYMENT_WRONG_SITE: { fault: 'peer', retryable: false },
  DEPLOYMENT_WRONG_TERMS: { fault: 'peer', retryable: false },
  DEPLOYMENT_REPLAYED: { fault: 'peer', retryable: false },
  DEPLOYMENT_EPOCH_UNPROVEN: { fault: 'peer', retryable: false },
  RECOVERY_REPLAYED: { fault: 'peer', retryable: false },
  DEPLOYMENT_EXPIRED: { fault: 'peer', retryable: false },
  DEPLOYMENT_ROLLBACK_REFUSED: { fault: 'peer', retryable: false },
  DEPLOYMENT_BELOW_REVERT_FLOOR: { fault: 'peer', retryable: false },
  RELEASE_NOT_LISTED: { fault: 'peer', retryable: false },
  REPOSITORIES_DISAGREE: { fault: 'peer', retryable: false },
  RELEASE_DIGEST_MISMATCH: { fault: 'peer', retryable: false },
  RELEASE_NOT_AS_ORDERED: { fault: 'peer', retryable: false },
  FETCH_DIGEST_MISMATCH: { fault: 'peer', retryable: false },
  FETCH_TOO_LARGE: { fault: 'peer', retryable: false },
  FETCH_UNREACHABLE: { fault: 'environment', retryable: true },
  FETCH_STALLED: { fault: 'environment', retryable: true },
  FETCH_TOO_SLOW: { fault: 'environment', retryable: true },
  FETCH_INTERRUPTED: { fault: 'environment', retryable: true },
  FETCH_UNAUTHORIZED: { fault: 'caller', retryable: false },
  FETCH_NOT_FOUND: { fault: 'peer', retryable: false },
  FETCH_ANSWER_INVALID: { fault: 'peer', retryable: false },
  UPDATE_DISK_FULL: { fault: 'environment', retryable: true },
  UPDATE_FILE_DAMAGED: { fault: 'environment', retryable: true },
  UPDATE_STEP_TIMEOUT: { fault: 'environment', retryable: true },
  UPDATE_SUPERSEDED: { fault: 'caller', retryable: false },
  UPDATE_REBOOT_LOOP: { fault: 'environment', retryable: false },
  UPDATE_UNEXPECTED_MODEL: { fault: 'bug', retryable: false },
  UPDATE_FALLBACK_FAILED: { fault: 'environment', retryable: true },
  UPDATE_JOURNAL_BEHIND: { fault: 'environment', retryable: false },
  UPDATE_CLOSED: { fault: 'caller', retryable: false },
  PROBATION_CRASHED: { fault: 'peer', retryable: false },
  PROBATION_FAILURES: { fault: 'peer', retryable: false },
  PROBATION_SLOW: { fault: 'peer', retryable: false },
  PROBATION_MEMORY: { fault: 'peer', retryable: false },
  PROBATION_NOT_RUNNING: { fault: 'environment', retryable: false },
  AGENT_NOT_UPDATABLE: { fault: 'caller', retryable: false },
  AGENT_BUNDLE_UNREADABLE: { fault: 'peer', retryable: false },
  AGENT_SELF_TEST_FAILED: { fault: 'peer', retryable: false },
  AGENT_TAKEN_BACK: { fault: 'peer', retryable: false },
  AGENT_UNFIT: { fault: 'environment', retryable: false },
  AGENT_SLOTS_LOST: { fault: 'environment', retryable: true },
  PARAMETERS_NOT_SERVED: { fault: 'caller', retryable: false },
  PARAMETERS_INCOMPATIBLE: { fault: 'caller', retryable: false },
  PARAMETERS_DORMANT: { fault: 'caller', retryable: false },
  PARAMETERS_REJECTED: { fault: 'peer', retryable: false },
  TRIAL_NOT_POSSIBLE: { fault: 'caller', retryable: false },
  TRIAL_INCOMPATIBLE: { fault: 'caller', retryable: false },
  TRIAL_CRASHED: { fault: 'peer', retryable: false },
  ADAPTATION_NOT_POSSIBLE: { fault: 'caller', retryable: true },
  ADAPTATION_DAMAGED: { fault: 'environment', retryable: false },
} as const satisfies CodeTable;

export type UpdateCode = keyof typeof UPDATE_CODES;

export class UpdateError extends CodedError<UpdateCode> {
  constructor(code: UpdateCode, what: string, facts: ErrorFacts) {
    super(UPDATE_CODES, code, what, facts);
  }
}

/** Ends what is under way when the agent stops. */
export const stopping = (): UpdateError =>
  new UpdateError('UPDATE_CLOSED', 'The agent stops.', {
    remedy: 'Nothing: the update goes on after the next start.',
  });
