import { CodedError, type CodeTable, type ErrorFacts } from '../coded-error/index.js';

export const DELIVERY_CODES = {
  /** The bytes are no chunk index, or one that does not cover its file exactly. */
  CHUNK_INDEX_INVALID: { fault: 'peer', retryable: false },
  PACK_DIRECTORY_INVALID: { fault: 'peer', retryable: false },
  /** A frame that does not decode to exactly the bytes that its chunk has. */
  FRAME_INVALID: { fault: 'peer', retryable: false },
} as const satisfies CodeTable;

export class DeliveryError extends CodedError<keyof typeof DELIVERY_CODES> {
  constructor(code: keyof typeof DELIVERY_CODES, what: string, facts: ErrorFacts) {
    super(DELIVERY_CODES, code, what, facts);
  }
}

export const invalidIndex = (what: string): DeliveryError =>
  new DeliveryError('CHUNK_INDEX_INVALID', `This is no chunk index: ${what}.`, {
    remedy: 'Publish the release again under a new version.',
  });

export const invalidDirectory = (what: string): DeliveryError =>
  new DeliveryError('PACK_DIRECTORY_INVALID', `This is no pack directory: ${what}.`, {
    remedy: 'The device fetches the plain file instead. Check proxies and caches between it and the control plane.',
  });

export const invalidFrame = (what: string, cause?: unknown): DeliveryError =>
  new DeliveryError('FRAME_INVALID', `A compressed chunk does not decode: ${what}.`, {
    remedy: 'The device fetches the plain chunk instead. Check proxies and caches between it and the control plane.',
    cause,
  });
