import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { isInShare } from '../../../src/serve/trials/share.js';

it('when a share grows, keeps every key that belonged to it', () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.string(),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (key, salt, one, other) => {
        const [smaller, larger] = [Math.min(one, other), Math.max(one, other)];
        return !isInShare(key, salt, smaller) || isInShare(key, salt, larger);
      },
    ),
  );
});

it('when the share is nothing or all, no key belongs to it, or every one', () => {
  fc.assert(fc.property(fc.string(), (key) => !isInShare(key, 'salt', 0) && isInShare(key, 'salt', 1)));
});

it.each([
  ['numbers', Array.from({ length: 10_000 }, (_, index) => String(index))],
  ['UUIDs', Array.from({ length: 10_000 }, () => randomUUID())],
])('when keys are %s, a tenth of them belongs to a tenth, and other ones after another salt', (_, keys) => {
  const chosen = (salt: string) => new Set(keys.filter((key) => isInShare(key, salt, 0.1)));
  const [one, other] = [chosen('sha256:a'), chosen('sha256:b')];
  // Six standard deviations of a binomial of 10,000 and 0.1.
  for (const { size } of [one, other]) expect(Math.abs(size - 1_000)).toBeLessThan(180);
  const common = [...one].filter((key) => other.has(key)).length;
  expect(Math.abs(common - 100)).toBeLessThan(60);
});
