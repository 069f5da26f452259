import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const REGISTRY_CODES = {
  RELEASE_EXISTS: { fault: 'caller', retryable: false },
  RELEASE_FILES_MISSING: { fault: 'caller', retryable: false },
  RELEASE_FILE_SIZE_WRONG: { fault: 'caller', retryable: false },
  RELEASE_PARENT_UNKNOWN: { fault: 'caller', retryable: false },
  RELEASE_TARGET_WRONG: { fault: 'caller', retryable: false },
  RELEASE_WITHDRAWN: { fault: 'caller', retryable: false },
  RELEASE_UNKNOWN: { fault: 'caller', retryable: false },
  MODEL_UNKNOWN: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class RegistryError extends CodedError<keyof typeof REGISTRY_CODES> {
  constructor(code: keyof typeof REGISTRY_CODES, what: string, facts: ErrorFacts) {
    super(REGISTRY_CODES, code, what, facts);
  }
}

export const releaseWithdrawn = (model: string, version: string): RegistryError =>
  new RegistryError('RELEASE_WITHDRAWN', `${model}@${version} was withdrawn by its publishers.`, {
    remedy: 'Take another version; no device would take this one.',
  });
