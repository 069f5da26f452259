import { describe, expect, it } from 'vitest';
import { killControlPlanes } from '../../src/chaos/control-plane/campaign.js';

describe('when a control plane is killed at its writes', () => {
  // `npm run chaos -- --target control-plane --kills 1000` is the long version.
  it('loses no acknowledged command and repeats none', { timeout: 120_000 }, async () => {
    const bound = new AbortController();
    const timer = setTimeout(() => bound.abort(), 25_000);
    const violations: string[] = [];
    const { kills } = await killControlPlanes({
      kills: 5,
      seed: 1,
      signal: bound.signal,
      onKill: () => undefined,
      onViolation: (what) => void violations.push(what),
    });
    clearTimeout(timer);
    expect(violations).toEqual([]);
    expect(kills).toBeGreaterThanOrEqual(2);
  });
});
