import { describe, expect, it } from 'vitest';
import { jsonLog, type LogLevel } from '../../src/supervisor/index.js';

const logged = (level: LogLevel, write: (log: ReturnType<typeof jsonLog>) => void): Record<string, unknown>[] => {
  const lines: string[] = [];
  write(jsonLog(level, (line) => lines.push(line)));
  return lines.map((line) => {
    expect(line.endsWith('\n')).toBe(true);
    return JSON.parse(line) as Record<string, unknown>;
  });
};

describe('jsonLog', () => {
  it('when an event is logged, it writes one line with time, level, event and facts', () => {
    const [line] = logged('info', (log) => log.warn('link', { code: 'LINK_LOST', what: 'two\nlines' }));
    expect(line).toMatchObject({ level: 'warn', event: 'link', code: 'LINK_LOST', what: 'two\nlines' });
    expect(Date.parse(String(line?.['time']))).not.toBeNaN();
  });

  it.each([
    ['debug', ['debug', 'info', 'warn', 'error']],
    ['info', ['info', 'warn', 'error']],
    ['warn', ['warn', 'error']],
    ['error', ['error']],
  ] as const)('when the level is %s, it keeps what is at least that', (level, kept) => {
    const lines = logged(level, (log) => {
      for (const own of ['debug', 'info', 'warn', 'error'] as const) log[own]('x');
    });
    expect(lines.map((line) => line['level'])).toEqual(kept);
  });

  it('when facts bear the names of the head, the head stays', () => {
    const [line] = logged('info', (log) =>
      log.info('update', { event: 'other', level: 'none', time: 0, from: 'idle' }),
    );
    expect(line).toMatchObject({ event: 'update', level: 'info', from: 'idle' });
    expect(line?.['time']).not.toBe(0);
  });
});
