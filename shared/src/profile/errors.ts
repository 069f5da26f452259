import { CodedError, type CodeTable, type ErrorFacts } from '../coded-error/index.js';

export const PROFILE_CODES = {
  /** A value or document that cannot be a profile. */
  PROFILE_INVALID: { fault: 'caller', retryable: false },
  /** Two things that do not describe the same features: a row and a profile, or two profiles to be merged. */
  PROFILE_MISMATCH: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class ProfileError extends CodedError<keyof typeof PROFILE_CODES> {
  constructor(code: keyof typeof PROFILE_CODES, what: string, facts: ErrorFacts) {
    super(PROFILE_CODES, code, what, facts);
  }
}
