export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** One line of JSON per event on stderr, which journald keeps. pino is left out of the supervisor: it costs 9 MiB of its 80. */
export interface Log {
  debug(event: string, facts?: object): void;
  info(event: string, facts?: object): void;
  warn(event: string, facts?: object): void;
  error(event: string, facts?: object): void;
}

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

/** Facts never replace `time`, `level` and `event`. */
export function jsonLog(level: LogLevel, write: (line: string) => void): Log {
  const at =
    (own: LogLevel) =>
    (event: string, facts: object = {}) => {
      if (LEVELS.indexOf(own) < LEVELS.indexOf(level)) return;
      const head = { time: new Date().toISOString(), level: own, event };
      write(`${JSON.stringify({ ...head, ...facts, ...head })}\n`);
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}
