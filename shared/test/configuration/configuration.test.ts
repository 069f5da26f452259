import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Type } from 'typebox';
import { describe, expect, it } from 'vitest';
import { ConfigurationError, readConfiguration } from '../../src/configuration/index.js';

const strict = { additionalProperties: false } as const;
const schema = Type.Object(
  {
    dataDir: Type.String({ default: '/var/lib/x' }),
    serve: Type.Object(
      {
        port: Type.Integer({ minimum: 0, maximum: 65_535, default: 8080 }),
        providers: Type.Array(Type.String(), { default: ['cpu'] }),
      },
      { ...strict, default: {} },
    ),
    labels: Type.Record(Type.String(), Type.String(), { default: {} }),
  },
  strict,
);
const read = (document: unknown, environment: Record<string, string> = {}) => {
  const file = join(mkdtempSync(join(tmpdir(), 'drover-config-')), 'config.json');
  writeFileSync(file, typeof document === 'string' ? document : JSON.stringify(document));
  return readConfiguration(schema, { file, environment, prefix: 'X_' });
};
const failure = (act: () => unknown): ConfigurationError => {
  try {
    act();
  } catch (error) {
    if (error instanceof ConfigurationError) return error;
    throw error;
  }
  throw new Error('it was accepted');
};

describe('when configuration is read', () => {
  it('takes the environment before the file, and the file before the defaults', () => {
    expect(read({})).toEqual({ dataDir: '/var/lib/x', serve: { port: 8080, providers: ['cpu'] }, labels: {} });
    expect(
      read(
        { serve: { port: 1 }, dataDir: '/a' },
        { X_SERVE_PORT: '2', X_SERVE_PROVIDERS: 'cuda, cpu', X_LABELS: 'site=lab,line=2', Y: '1' },
      ),
    ).toEqual({ dataDir: '/a', serve: { port: 2, providers: ['cuda', 'cpu'] }, labels: { site: 'lab', line: '2' } });
  });

  it('names every bad path at once', () => {
    const { message, code } = failure(() => read({ serve: { port: 'x', colour: 1 }, datadir: '/a' }));
    expect(code).toBe('CONFIG_INVALID');
    for (const path of ['/serve/port', '/serve/colour', '/datadir']) expect(message).toContain(path);
  });

  it('refuses a variable that names no key, and a number that is none', () => {
    expect(failure(() => read({}, { X_SERVE_PROT: '1' })).message).toContain('X_SERVE_PROT');
    expect(failure(() => read({}, { X_SERVE_PORT: '80a' })).message).toContain('/serve/port');
    expect(failure(() => read({}, { X_LABELS: 'site' })).message).toContain('/labels');
  });

  it('says which file cannot be read or parsed', () => {
    expect(failure(() => read('{'))).toMatchObject({ code: 'CONFIG_UNREADABLE' });
    expect(
      failure(() => readConfiguration(schema, { file: '/nowhere.json', environment: {}, prefix: 'X_' })),
    ).toMatchObject({
      code: 'CONFIG_UNREADABLE',
      where: '/nowhere.json',
    });
  });
});
