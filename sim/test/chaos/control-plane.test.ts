import { describe, expect, it } from 'vitest';
import { KillPointCatalogue } from '../../src/chaos/campaign/catalogue.js';
import { killControlPlanes } from '../../src/chaos/control-plane/campaign.js';
import type { LedgerViolation } from '../../src/chaos/control-plane/ledger.js';

async function kill(kills: number, acknowledgesFirst: boolean) {
  const bound = new AbortController();
  const timer = setTimeout(() => bound.abort(), 100_000);
  const violations: LedgerViolation[] = [];
  const tally = await killControlPlanes({
    kills,
    seed: 1,
    catalogue: new KillPointCatalogue(),
    maxViolations: 1,
    acknowledgesFirst,
    signal: bound.signal,
    onKill: () => undefined,
    onViolation: (violation) => void violations.push(violation),
  });
  clearTimeout(timer);
  return { ...tally, violations };
}

describe('when a control plane is killed at its writes', () => {
  // `npm run chaos -- --target control-plane --kills 1000` is the long version.
  it('loses no acknowledged command and repeats none', { timeout: 120_000 }, async () => {
    const { kills, violations } = await kill(4, false);
    expect(violations).toEqual([]);
    expect(kills).toBe(4);
  });

  it('is found out when it acknowledges reports before it has stored them', { timeout: 120_000 }, async () => {
    const { violations } = await kill(20, true);
    expect(violations.map(({ kind }) => kind)).toContain('lost');
  });
});
