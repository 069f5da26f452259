import { ServeError, type ServeCode } from '../errors.js';

/** It never reached the model, or the model did its part. */
export const isNoFaultOfModel = (error: unknown): boolean => error instanceof ServeError && NEVER_RUN.has(error.code);
const NEVER_RUN: ReadonlySet<ServeCode> = new Set([
  'SERVE_OVERLOADED',
  'REQUEST_EXPIRED',
  'REQUEST_CANCELLED',
  'REQUEST_INVALID',
  'INPUT_CONTRACT_VIOLATED',
  'SEQUENCE_UNKNOWN',
  'SEQUENCE_LOST',
  'SEQUENCE_LIMIT',
]);

/** Nobody waits for the answer any more. */
export const isUnwanted = (error: unknown): boolean =>
  error instanceof ServeError && (error.code === 'REQUEST_EXPIRED' || error.code === 'REQUEST_CANCELLED');
