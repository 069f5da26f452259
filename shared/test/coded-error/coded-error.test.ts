import { describe, expect, it } from 'vitest';
import { formatCodedError, toCodedErrorJson } from '../../src/coded-error/index.js';
import { TrustError } from '../../src/trust/index.js';

describe('when something fails', () => {
  it('keeps the cause, and says what, where and what to do', () => {
    const cause = new SyntaxError('Unexpected token');
    const error = new TrustError('ENVELOPE_MALFORMED', 'This is no envelope.', {
      remedy: 'Send it again.',
      where: 'a.json',
      cause,
    });
    expect(error.cause).toBe(cause);
    expect(error).toMatchObject({ name: 'TrustError', fault: 'peer', retryable: false });
    expect(formatCodedError(error.toJSON())).toBe(
      'ENVELOPE_MALFORMED: This is no envelope.\n  where: a.json\n  do:    Send it again.',
    );
    expect(JSON.parse(JSON.stringify(error))).toEqual({
      code: 'ENVELOPE_MALFORMED',
      what: 'This is no envelope.',
      remedy: 'Send it again.',
      where: 'a.json',
    });
  });

  it('calls what carries no code a defect of ours', () => {
    expect(toCodedErrorJson(new Error('boom'))).toMatchObject({ code: 'INTERNAL_ERROR', what: 'boom' });
    expect(toCodedErrorJson('boom')).toMatchObject({ code: 'INTERNAL_ERROR', what: 'boom' });
  });
});
