import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { binomialUpperTail, seededRandom } from '@drover/shared/statistics';
import {
  comparePaired,
  judgeAdaptation,
  type AdaptationBounds,
  type PairedCorrectness,
} from '../../src/learn/index.js';

/** `gained` only right after, `lost` only right before, the rest right both times. */
function paired(count: number, gained: number, lost: number): PairedCorrectness {
  const before = Uint8Array.from({ length: count }, (_, index) => (index < gained ? 0 : 1));
  const after = Uint8Array.from({ length: count }, (_, index) => (index >= gained && index < gained + lost ? 0 : 1));
  return { before, after };
}
const bounds: AdaptationBounds = { minImprovement: 0.02, maxForgetting: 0.05, alpha: 0.05 };
const judge = (
  holdout: PairedCorrectness,
  anchor: PairedCorrectness,
  rest: { goldenOk?: boolean; latency?: { measuredMs: number; maxMs: number } } = { goldenOk: true },
) => judgeAdaptation({ holdout, anchor, ...rest }, bounds);
const good = paired(200, 40, 2);
const kept = paired(300, 1, 2);

describe('judgeAdaptation', () => {
  it('when it is better on the holdout, remembers the anchor and keeps its contracts, it passes with the evidence', () => {
    const judgement = judge(good, kept);
    expect(judgement.verdict).toBe('PASS');
    expect(judgement.holdout).toMatchObject({ count: 200, onlyAfterRight: 40, onlyBeforeRight: 2, change: 0.19 });
    expect(judgement.holdout.pValue).toBe(binomialUpperTail(40, 42, 0.5));
    expect(judgement.checks.map(({ verdict }) => verdict)).toEqual(['PASS', 'PASS', 'PASS']);
  });

  it.each([
    { what: 'the holdout is empty', holdout: paired(0, 0, 0), anchor: kept, verdict: 'NO_DATA' },
    { what: 'the anchor set is empty', holdout: good, anchor: paired(0, 0, 0), verdict: 'NO_DATA' },
    { what: 'nothing changed on a small holdout', holdout: paired(30, 0, 0), anchor: kept, verdict: 'INCONCLUSIVE' },
    { what: 'nothing changed on a large holdout', holdout: paired(5000, 0, 0), anchor: kept, verdict: 'FAIL' },
    { what: 'a few gains could be luck', holdout: paired(30, 4, 1), anchor: kept, verdict: 'INCONCLUSIVE' },
    { what: 'it got worse on the holdout', holdout: paired(200, 2, 40), anchor: kept, verdict: 'FAIL' },
    { what: 'the gain is certain but too small', holdout: paired(5000, 20, 0), anchor: kept, verdict: 'FAIL' },
    { what: 'a small anchor set shows no loss', holdout: good, anchor: paired(20, 0, 0), verdict: 'INCONCLUSIVE' },
    { what: 'it forgets', holdout: good, anchor: paired(300, 0, 60), verdict: 'FAIL' },
  ])('when $what, the verdict is $verdict', ({ holdout, anchor, verdict }) => {
    expect(judge(holdout, anchor).verdict).toBe(verdict);
  });

  it('when a contract is broken or was not tried, it never passes', () => {
    expect(judge(good, kept, { goldenOk: false }).verdict).toBe('FAIL');
    expect(judge(good, kept, {}).verdict).toBe('NO_DATA');
    expect(judge(good, kept, { goldenOk: true, latency: { measuredMs: 9, maxMs: 8 } }).verdict).toBe('FAIL');
    expect(judge(good, kept, { goldenOk: true, latency: { measuredMs: 7, maxMs: 8 } }).verdict).toBe('PASS');
  });

  it('when evidence is given twice, the judgement is the same, and the bounds contain the observed change', () => {
    const sets = fc
      .tuple(fc.nat(200), fc.nat(50), fc.nat(50))
      .map(([rest, gained, lost]) => paired(rest + gained + lost, gained, lost));
    fc.assert(
      fc.property(sets, sets, (holdout, anchor) => {
        const judgement = judge(holdout, anchor);
        expect(judge(holdout, anchor)).toEqual(judgement);
        for (const { changeLower, change, changeUpper } of [judgement.holdout, judgement.anchor]) {
          expect(changeLower).toBeLessThanOrEqual(change);
          expect(changeUpper).toBeGreaterThanOrEqual(change);
        }
      }),
    );
  });

  it('when a model without merit is judged many times, no more than alpha pass either test', () => {
    const random = seededRandom(11);
    const runs = 3000;
    let lucky = 0;
    let forgiven = 0;
    for (let run = 0; run < runs; run++) {
      // As many right before as after; and, on the anchor, exactly 5 % truly lost, which is the limit.
      const even = { before: new Uint8Array(120), after: new Uint8Array(120) };
      const lossy = { before: new Uint8Array(250), after: new Uint8Array(250) };
      for (let index = 0; index < 120; index++) {
        const drawn = random.next();
        even.before[index] = drawn < 0.8 || drawn > 0.9 ? 1 : 0;
        even.after[index] = drawn < 0.9 ? 1 : 0;
      }
      for (let index = 0; index < 250; index++) {
        const drawn = random.next();
        lossy.before[index] = drawn < 0.97 ? 1 : 0;
        lossy.after[index] = drawn < 0.91 || drawn > 0.99 ? 1 : 0;
      }
      if (comparePaired(even, bounds.alpha).pValue <= bounds.alpha) lucky++;
      if (-comparePaired(lossy, bounds.alpha).changeLower <= bounds.maxForgetting) forgiven++;
    }
    expect(lucky).toBeGreaterThan(0);
    expect(lucky / runs).toBeLessThanOrEqual(bounds.alpha);
    expect(forgiven / runs).toBeLessThanOrEqual(bounds.alpha);
  });
});
