import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const WORLD_CODES = {
  WORLD_ARGUMENT: { fault: 'caller', retryable: false },
  DATA_FOLDER_MISSING: { fault: 'environment', retryable: false },
  DATA_ROW_MALFORMED: { fault: 'environment', retryable: false },
} as const satisfies CodeTable;

export class WorldError extends CodedError<keyof typeof WORLD_CODES> {
  constructor(code: keyof typeof WORLD_CODES, what: string, facts: ErrorFacts) {
    super(WORLD_CODES, code, what, facts);
  }
}

/** @throws WorldError WORLD_ARGUMENT unless `holds`. */
export function requireArgument(holds: boolean, what: string, remedy: string): void {
  if (!holds) throw new WorldError('WORLD_ARGUMENT', what, { remedy });
}
