import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const START_CODES = {
  PORT_IN_USE: { fault: 'environment', retryable: false },
  ADDRESS_UNAVAILABLE: { fault: 'environment', retryable: false },
  DATA_DIR_UNAVAILABLE: { fault: 'environment', retryable: false },
  DATA_DIR_IN_USE: { fault: 'caller', retryable: false },
  DIRECTOR_KEY_MISSING: { fault: 'environment', retryable: false },
  ARGUMENTS_INVALID: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

/** Why the control plane did not start. */
export class StartError extends CodedError<keyof typeof START_CODES> {
  constructor(code: keyof typeof START_CODES, what: string, facts: ErrorFacts) {
    super(START_CODES, code, what, facts);
  }
}

/** What listening for HTTP throws, as a coded error; the broker has its own. */
export function toListenError(error: unknown, address: string): unknown {
  const errno = error instanceof Error && 'code' in error ? error.code : undefined;
  if (errno === 'EADDRINUSE') {
    return new StartError('PORT_IN_USE', `Another process listens on ${address} already.`, {
      where: 'http.port',
      remedy: 'Stop that process, or choose another port (DROVER_HTTP_PORT).',
      cause: error,
    });
  }
  if (errno === 'EADDRNOTAVAIL' || errno === 'EACCES' || errno === 'ENOTFOUND') {
    return new StartError('ADDRESS_UNAVAILABLE', `This machine cannot listen on ${address} (${errno}).`, {
      where: 'http.host',
      remedy: 'Use an address of this machine, 127.0.0.1 or 0.0.0.0, and a port from 1024 upwards.',
      cause: error,
    });
  }
  return error;
}
