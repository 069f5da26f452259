import type { CodedErrorJson } from '@drover/shared/coded-error';
import { MANIFEST_CODES } from '@drover/shared/manifest';
import type { Deployment } from '@drover/shared/protocol';
import { TRUST_CODES } from '@drover/shared/trust';
import { TUF_CODES } from '@drover/shared/trust/tuf';
import type { UpdateCode } from './errors.js';
import type { ModelRecord, UpdateRecord } from './journal.js';
import { FOREIGN_FILE } from './model-file.js';
import { toReportableError } from './reportable.js';
import type { UpdateEvent } from './states.js';

/** What a step has come to. */
export interface StepResult {
  readonly event: UpdateEvent;
  readonly reason: string;
  readonly error?: CodedErrorJson;
  /**
   * What changes in the model's record with the transition. A function of the record at that moment: an order may have been accepted while the
   * step was under way, and must not be lost.
   */
  readonly toRecord?: (current: ModelRecord) => ModelRecord;
  readonly begins?: Deployment;
}

/** Errors that say that the release itself is not to be believed: the operator gets a refusal and not just a failed update. */
const UNTRUSTED: ReadonlySet<string> = new Set<string>([
  ...Object.keys(TRUST_CODES),
  ...Object.keys(TUF_CODES),
  ...Object.keys(MANIFEST_CODES),
  ...([
    'RELEASE_NOT_LISTED',
    'REPOSITORIES_DISAGREE',
    'RELEASE_DIGEST_MISMATCH',
    'RELEASE_NOT_AS_ORDERED',
    'FETCH_DIGEST_MISMATCH',
    'FETCH_TOO_LARGE',
  ] satisfies UpdateCode[]),
  ...FOREIGN_FILE,
]);

export const isUntrusted = ({ code }: CodedErrorJson): boolean => UNTRUSTED.has(code);

/** A failed step; its error is journaled and reported. */
export const failed = (error: unknown): StepResult => {
  const reported = toReportableError(error);
  return { event: 'failed', reason: `${reported.code}: ${reported.what}`, error: reported };
};

/** The record of an order that is about to be begun. */
export const newUpdate = (deployment: Deployment): Omit<UpdateRecord, 'state'> => ({
  deployment,
  activated: false,
  interruptions: 0,
  closedOrderly: false,
});
