import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '@drover/shared/statistics';
import { KillPointCatalogue } from '../../src/chaos/campaign/catalogue.js';
import { decideLife } from '../../src/chaos/campaign/planner.js';
import { SCENARIO_NAMES } from '../../src/chaos/campaign/scenarios.js';
import { momentOf, roleOf } from '../../src/chaos/device/plan.js';

/** One moment of each role, all kill points reached and all kinds of lives searched: what is left is the least tried moment. */
function wellKnown(): KillPointCatalogue {
  const catalogue = new KillPointCatalogue();
  for (const role of [...SCENARIO_NAMES, 'restart', 'carried on']) {
    const moment = momentOf('before', 'write', 'fetching', role);
    catalogue.notePassed({ [moment]: 3 });
    catalogue.noteKill(moment);
  }
  for (const scenario of SCENARIO_NAMES) for (let miss = 0; miss < 2; miss++) catalogue.noteSearch(scenario, false);
  return catalogue;
}

describe('what a life is to be killed at', () => {
  it('when it is a known moment, it is one that this life comes to, and not more often than any life did', () => {
    fc.assert(
      fc.property(fc.integer(), fc.boolean(), (seed, isFirstLife) => {
        const random = seededRandom(seed);
        const { scenario, kill, sparesCheck, carriesOn } = decideLife(wellKnown(), random, {
          isFirstLife,
          mayCorrupt: false,
        });
        if (kill.at !== 'moment') return;
        const disturbed = ['restart', ...(carriesOn ? ['carried on'] : []), ...(isFirstLife ? [] : ['upgrade'])];
        const within = sparesCheck ? [scenario] : [...disturbed, scenario];
        expect(within).toContain(roleOf(kill.moment));
        expect(kill.occurrence).toBeGreaterThanOrEqual(1);
        expect(kill.occurrence).toBeLessThanOrEqual(3);
      }),
    );
  });

  it('is another moment after one that a life did not come to', () => {
    const [never, other] = ['fetching', 'idle'].map((state) => momentOf('before', 'write', state, 'upgrade'));
    const catalogue = new KillPointCatalogue();
    catalogue.notePassed({ [never ?? '']: 1, [other ?? '']: 1 });
    catalogue.noteMissed(never ?? '');
    const random = seededRandom(1);
    expect(catalogue.leastTriedMoment(() => true, random)).toMatchObject({ moment: other });
    catalogue.noteKill(other ?? '');
    catalogue.noteKill(other ?? '');
    expect(catalogue.leastTriedMoment(() => true, random)).toMatchObject({ moment: never });
  });
});
