import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const MODEL_SIGNATURE_CODES = {
  /** Not a Sigstore bundle v0.3 with one DSSE signature over an in-toto statement. */
  MODEL_SIGNATURE_MALFORMED: { fault: 'caller', retryable: false },
  /** A bundle that is none of what is checked here: keyless, an older predicate, shards, another hash. */
  MODEL_SIGNATURE_UNSUPPORTED: { fault: 'caller', retryable: false },
  /** The given key or CA file is none that model signing uses. */
  MODEL_SIGNATURE_KEY_UNUSABLE: { fault: 'caller', retryable: false },
  /** The signature does not fit the statement, or the statement contradicts itself. */
  MODEL_SIGNATURE_INVALID: { fault: 'peer', retryable: false },
  /** Signed, but not by the key, the authority or the identity that was asked for. */
  MODEL_SIGNATURE_UNTRUSTED: { fault: 'peer', retryable: false },
  /** The signature holds, and the files are others than those that were signed. */
  MODEL_SIGNATURE_FILES_DIFFER: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class ModelSignatureError extends CodedError<keyof typeof MODEL_SIGNATURE_CODES> {
  constructor(code: keyof typeof MODEL_SIGNATURE_CODES, what: string, facts: ErrorFacts) {
    super(MODEL_SIGNATURE_CODES, code, what, facts);
  }
}

export const malformed = (why: string, cause?: unknown): ModelSignatureError =>
  new ModelSignatureError('MODEL_SIGNATURE_MALFORMED', `This is no model signature: ${why}.`, {
    remedy: 'Give the file that `model_signing sign` wrote, copied whole.',
    cause,
  });

export const unsupported = (what: string): ModelSignatureError =>
  new ModelSignatureError('MODEL_SIGNATURE_UNSUPPORTED', what, {
    remedy:
      'Sign again with `model_signing sign key` or `model_signing sign certificate` (version 1 or later, SHA-256 for each file).',
  });

export const untrusted = (what: string, remedy: string, cause?: unknown): ModelSignatureError =>
  new ModelSignatureError('MODEL_SIGNATURE_UNTRUSTED', what, { remedy, cause });
