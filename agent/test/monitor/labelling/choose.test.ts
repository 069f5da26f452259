import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '@drover/shared/statistics';
import {
  chooseLabels,
  labelsWanted,
  shareOf,
  type Candidate,
  type LabellingSettings,
} from '../../../src/monitor/labelling/choose.js';

const SETTINGS: LabellingSettings = { perDay: 8, maxOpen: 4, driftFactor: 3, randomShare: 0.5 };
const BOTH = { random: true, targeted: true };
const sure = (sample: number, confidence: number): Candidate => ({ sample, confidence, unsureBelow: 0.6 });

describe('what is asked for', () => {
  it('when the model was unsure, the least sure row is targeted, beside one that is drawn', () => {
    const candidates = [sure(1, 0.9), sure(2, 0.55), sure(3, 0.4), sure(4, 0.99)];
    expect(chooseLabels(candidates, BOTH, () => 0)).toEqual([
      { sample: 1, reason: 'random' },
      { sample: 3, reason: 'targeted' },
    ]);
  });

  it('when the model was sure enough, or it is not known what is sure, nothing is targeted', () => {
    expect(chooseLabels([sure(1, 0.61)], { random: false, targeted: true }, () => 0)).toEqual([]);
    const unknown = { sample: 1, confidence: 0.1, unsureBelow: undefined };
    expect(chooseLabels([unknown], { random: false, targeted: true }, () => 0)).toEqual([]);
    expect(chooseLabels([], BOTH, () => 0)).toEqual([]);
  });

  it('when one is drawn, each row has the same chance, however sure the model was', () => {
    const random = seededRandom(7);
    const candidates = [sure(0, 0.1), sure(1, 0.5), sure(2, 0.7), sure(3, 0.9), sure(4, 1)];
    const drawn = [0, 0, 0, 0, 0];
    const draws = 20_000;
    for (let draw = 0; draw < draws; draw++) {
      const [choice] = chooseLabels(candidates, { random: true, targeted: false }, () => random.next());
      drawn[choice?.sample ?? -1] = (drawn[choice?.sample ?? -1] ?? 0) + 1;
    }
    // Chi-squared with 4 degrees of freedom exceeds 18.5 once in a thousand times.
    const expected = draws / 5;
    expect(drawn.reduce((sum, each) => sum + (each - expected) ** 2 / expected, 0)).toBeLessThan(18.5);
  });

  it('when any desk stands as it may, neither reason gets beyond its own share of it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.nat({ max: 60 }),
        fc.nat({ max: 60 }),
        (maxOpen, randomShare, random, targeted) => {
          const standing = {
            budgets: { random: undefined, targeted: undefined },
            open: { random, targeted },
            isDrifting: false,
            nowMs: 0,
          };
          const { wanted } = labelsWanted(standing, { ...SETTINGS, perDay: 1_000, maxOpen, randomShare });
          const share = shareOf(maxOpen, randomShare);
          expect(share.random + share.targeted).toBe(maxOpen);
          if (wanted.random) expect(random).toBeLessThan(share.random);
          if (wanted.targeted) expect(targeted).toBeLessThan(share.targeted);
        },
      ),
    );
  });
});
