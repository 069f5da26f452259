import { describe, expect, it } from 'vitest';
import { newTally, runCampaign } from '../../src/chaos/campaign/campaign.js';
import { KillPointCatalogue } from '../../src/chaos/campaign/catalogue.js';
import type { EpisodeViolation } from '../../src/chaos/campaign/episode.js';

describe('when devices are killed again and again', () => {
  // `npm run chaos -- --kills 10000` is the long version.
  it('serve, tell the truth and take the next order after each kill', { timeout: 120_000 }, async () => {
    const tally = newTally(1);
    const catalogue = new KillPointCatalogue();
    const violations: EpisodeViolation[] = [];
    const bound = new AbortController();
    const timer = setTimeout(() => bound.abort(), 25_000);
    await runCampaign({
      kills: 30,
      workers: 2,
      maxViolations: 1,
      tally,
      catalogue,
      signal: bound.signal,
      onProgress: () => undefined,
      onViolation: (violation) => void violations.push(violation),
    });
    clearTimeout(timer);
    expect(violations.map(({ kind, what, trace }) => [kind, what, ...trace].join('\n'))).toEqual([]);
    expect(tally.kills).toBeGreaterThanOrEqual(4);
    expect(catalogue.reachedPoints().length).toBeGreaterThanOrEqual(3);
  });
});
