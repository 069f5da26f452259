import { ServeError } from '../errors.js';

export type SequenceId = number | string;

const quoted = (id: SequenceId): string => JSON.stringify(id).slice(0, 200);

export const missing = (model: string): ServeError =>
  new ServeError('REQUEST_INVALID', `${model} keeps a state for each sequence, and the request names none.`, {
    remedy: 'Send the parameter sequence_id, and sequence_start with the first request of a sequence.',
  });

export const unknown = (id: SequenceId, idleTimeoutMs: number): ServeError =>
  new ServeError('SEQUENCE_UNKNOWN', `There is no sequence ${quoted(id)}, and the request does not start one.`, {
    remedy: `Send sequence_start with its first request. A sequence without requests for ${idleTimeoutMs / 1_000} s has ended.`,
  });

export const lost = (id: SequenceId): ServeError =>
  new ServeError(
    'SEQUENCE_LOST',
    `If there was a sequence ${quoted(id)}, its state is gone: the model was loaded anew.`,
    {
      remedy:
        'Start it again: sequence_start with the next request. The state of one release means nothing to another.',
    },
  );

export const tooMany = (maxSequences: number): ServeError =>
  new ServeError('SEQUENCE_LIMIT', `There are ${maxSequences} sequences already.`, {
    remedy:
      'End those that are over (sequence_end), and try again later; or publish the model with a higher --max-sequences.',
  });

export const tooLarge = (maxBytes: number): ServeError =>
  new ServeError('SEQUENCE_LIMIT', `The states of all sequences would take more than ${maxBytes} bytes.`, {
    remedy:
      'End sequences that are over (sequence_end), and try again later. The state is as it was before the request.',
  });
