import { ServeError } from '../errors.js';

export const invalid = (why: string, cause?: unknown): ServeError =>
  new ServeError('REQUEST_INVALID', `The request cannot be answered: ${why}.`, {
    remedy: 'Read the signature with GET /v2/models/{model}.',
    cause,
  });
