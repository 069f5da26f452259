import { CodedError, type CodeTable, type ErrorFacts } from '../coded-error/index.js';

export const BUNDLE_CODES = {
  BUNDLE_MALFORMED: { fault: 'peer', retryable: false },
  BUNDLE_TRUNCATED: { fault: 'environment', retryable: false },
  BUNDLE_DAMAGED: { fault: 'environment', retryable: false },
} as const satisfies CodeTable;

export class BundleError extends CodedError<keyof typeof BUNDLE_CODES> {
  constructor(code: keyof typeof BUNDLE_CODES, what: string, facts: ErrorFacts) {
    super(BUNDLE_CODES, code, what, facts);
  }
}

const AGAIN =
  'Copy it to the stick again, or export it anew (`drover bundle export`), and compare the digest that was printed.';

export const malformed = (why: string, cause?: unknown) =>
  new BundleError('BUNDLE_MALFORMED', `This is no bundle that Drover made: ${why}.`, { remedy: AGAIN, cause });
export const truncated = (why: string) =>
  new BundleError('BUNDLE_TRUNCATED', `The bundle is not whole: ${why}.`, { remedy: AGAIN });
export const damaged = (name: string) =>
  new BundleError('BUNDLE_DAMAGED', `"${name}" in the bundle is not what its table of contents says.`, {
    remedy: AGAIN,
  });
