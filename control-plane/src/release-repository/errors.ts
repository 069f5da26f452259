import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const REPOSITORY_CODES = {
  REPOSITORY_MISSING: { fault: 'caller', retryable: false },
  REPOSITORY_FILE_UNKNOWN: { fault: 'caller', retryable: false },
  REPOSITORY_VERSION_WRONG: { fault: 'caller', retryable: false },
  REPOSITORY_DOCUMENT_REFUSED: { fault: 'caller', retryable: false },
  REPOSITORY_ROLE_UNSIGNED: { fault: 'caller', retryable: false },
  REPOSITORY_ONLINE_KEY_MISSING: { fault: 'caller', retryable: false },
  REPOSITORY_ROLE_EXPIRING: { fault: 'caller', retryable: false },
  REPOSITORY_ROLE_EXPIRED: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class RepositoryError extends CodedError<keyof typeof REPOSITORY_CODES> {
  constructor(code: keyof typeof REPOSITORY_CODES, what: string, facts: ErrorFacts) {
    super(REPOSITORY_CODES, code, what, facts);
  }
}

export const fileUnknown = (name: string): RepositoryError =>
  new RepositoryError('REPOSITORY_FILE_UNKNOWN', `The release repository has no file ${name}.`, {
    remedy: 'Look for its roles and versions with `drover keys show`.',
  });

export const repositoryMissing = (): RepositoryError =>
  new RepositoryError('REPOSITORY_MISSING', 'This control plane has no release repository yet.', {
    remedy:
      'Publish a first root and targets (`drover keys init`). For a trial `drover model publish` without --key makes both, with development keys.',
  });
