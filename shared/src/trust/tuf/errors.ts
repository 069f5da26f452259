import { CodedError, type CodeTable, type ErrorFacts } from '../../coded-error/index.js';

export const TUF_CODES = {
  TUF_ANCHOR_INVALID: { fault: 'caller', retryable: false },
  TUF_MALFORMED: { fault: 'peer', retryable: false },
  TUF_TOO_LARGE: { fault: 'peer', retryable: false },
  TUF_NOT_FOUND: { fault: 'peer', retryable: true },
  TUF_NOT_CACHED: { fault: 'environment', retryable: true },
  TUF_SIGNATURES_BELOW_THRESHOLD: { fault: 'peer', retryable: false },
  TUF_ROLLBACK: { fault: 'peer', retryable: false },
  TUF_MIX_AND_MATCH: { fault: 'peer', retryable: true },
  TUF_EXPIRED: { fault: 'peer', retryable: true },
  TUF_TOO_MANY_ROTATIONS: { fault: 'peer', retryable: true },
  TUF_TOO_MANY_DELEGATIONS: { fault: 'peer', retryable: false },
  TUF_TARGET_MISMATCH: { fault: 'peer', retryable: true },
} as const satisfies CodeTable;

export type TufCode = keyof typeof TUF_CODES;

const REMEDIES: Readonly<Record<TufCode, string>> = {
  TUF_ANCHOR_INVALID: 'Give the device the root.json that the publishers made with `drover keys`, copied whole.',
  TUF_MALFORMED: 'Publish the file again with `drover`. If it is whole at the source, something on the way changes it.',
  TUF_TOO_LARGE: 'Find out who serves this: a file of this kind is never that large.',
  TUF_NOT_FOUND: 'Publish what is missing. If the repository has it, its mirror or proxy is out of date.',
  TUF_NOT_CACHED:
    'Connect the device, or import a bundle: it has to refresh the metadata once before it can go without.',
  TUF_SIGNATURES_BELOW_THRESHOLD:
    'Sign with as many of the keys in force as the threshold asks for. If the publishers did, treat this as an attack on the repository.',
  TUF_ROLLBACK:
    'Publish with a higher version. After a compromise, rotate the snapshot and timestamp keys so that devices forget the old numbers. Otherwise treat this as an attack.',
  TUF_MIX_AND_MATCH: 'Publish the metadata together. If it was, a mirror or proxy serves files of different times.',
  TUF_EXPIRED:
    'Sign the role anew before it expires, and check the clock of the device. If the repository is fresh, somebody holds new metadata back.',
  TUF_TOO_MANY_ROTATIONS: 'Nothing at once: the next refresh goes on from the newest root that was reached.',
  TUF_TOO_MANY_DELEGATIONS: 'Delegate less deeply: one role per model is meant.',
  TUF_TARGET_MISMATCH: 'Publish the file again. If it is whole at the source, something on the way changes it.',
};

export interface TufErrorFacts extends Omit<ErrorFacts, 'remedy'> {
  /** The section of the TUF specification 1.0 that was not met, such as `5.4.3`. */
  readonly section: string;
  readonly remedy?: string;
}

export class TufError extends CodedError<TufCode> {
  readonly section: string;

  constructor(code: TufCode, what: string, { section, remedy = REMEDIES[code], ...facts }: TufErrorFacts) {
    super(TUF_CODES, code, `${what} (TUF ${section})`, { ...facts, remedy });
    this.section = section;
  }
}
