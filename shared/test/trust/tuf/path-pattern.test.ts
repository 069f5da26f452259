import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isDelegatedPath, matchesPathPattern } from '../../../src/trust/tuf/index.js';

describe('4.5 a path pattern', () => {
  it.each([
    ['targets/*.tgz', 'targets/foo.tgz', true],
    ['targets/*.tgz', 'targets/foo.txt', false],
    ['foo-version-?.tgz', 'foo-version-2.tgz', true],
    ['foo-version-?.tgz', 'foo-version-alpha.tgz', false],
    ['*.tgz', 'foo.tgz', true],
    ['*.tgz', 'targets/foo.tgz', false],
    ['foo.tgz', 'foo.tgz', true],
    ['foo.tgz', 'foo.tgz ', false],
    ['*', '', true],
    ['', '', true],
    ['?', '', false],
    ['*/*', 'a/', true],
    ['gas/*', 'gas/1.0.0.json', true],
    ['gas/*', 'gas/sub/1.0.0.json', false],
    ['gas/*', 'gas', false],
    ['gas/*', 'GAS/1.0.0.json', false],
    ['**', 'a/b', false],
    ['*.hidden', '.hidden', true],
    ['?', '😀', true],
  ])('%j and %j: %s', (pattern, path, matches) => {
    expect(matchesPathPattern(path, pattern)).toBe(matches);
  });

  it.each(['{a,b}', '!a', '#a', '[ab]', '+(a|b)', 'a\\b', '.', 'a+', '^a$'])(
    'has no other wildcards: %j stands for itself',
    (pattern) => {
      expect(matchesPathPattern(pattern, pattern)).toBe(true);
      expect(matchesPathPattern('a', pattern)).toBe(false);
    },
  );

  it('agrees with the regular expression that says the same', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?', '/'), maxLength: 12 });
    fc.assert(
      fc.property(text, text, (pattern, path) => {
        const source = pattern.replace(/[*?]/g, (wildcard) => (wildcard === '*' ? '[^/]*' : '[^/]'));
        expect(matchesPathPattern(path, pattern)).toBe(new RegExp(`^${source}$`).test(path));
      }),
      { numRuns: 2000 },
    );
  });

  it('takes no exponential time', () => {
    const started = performance.now();
    expect(matchesPathPattern('a'.repeat(1000), `${'a*'.repeat(200)}b`)).toBe(false);
    expect(performance.now() - started).toBeLessThan(2000);
  });

  it('covers nothing where a delegation names neither paths nor prefixes', () => {
    expect(isDelegatedPath({}, 'a')).toBe(false);
    expect(isDelegatedPath({ paths: [] }, 'a')).toBe(false);
    expect(isDelegatedPath({ path_hash_prefixes: [] }, 'a')).toBe(false);
  });
});
