import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

/** Why something other than the control plane was passed over. Nothing depends on it: the next source was asked. */
export const SOURCE_CODES = {
  MIRROR_UNREACHABLE: { fault: 'environment', retryable: true },
  MIRROR_SLOW: { fault: 'environment', retryable: true },
  MIRROR_REFUSED: { fault: 'environment', retryable: true },
  MIRROR_STALE: { fault: 'environment', retryable: true },
  MIRROR_WRONG: { fault: 'peer', retryable: true },
} as const satisfies CodeTable;

export type SourceCode = keyof typeof SOURCE_CODES;

export class SourceError extends CodedError<SourceCode> {
  constructor(code: SourceCode, what: string, facts: ErrorFacts) {
    super(SOURCE_CODES, code, what, facts);
  }
}
