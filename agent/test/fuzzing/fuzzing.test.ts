import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { caseOf, judgeCase } from '@drover/shared/fuzzing';
import { targets } from './targets.js';

describe.each(targets)('when bytes from outside meet the parser of $name', (target) => {
  it('accepts what is valid, so that the changed documents begin close to it', async () => {
    expect(target.seeds().length).toBeGreaterThan(0);
    for (const seed of target.seeds()) await target.parse(seed);
  });

  it('returns or throws a coded error, whatever is changed in a valid document', async () => {
    const law = fc.asyncProperty(fc.integer(), fc.nat(1_000), async (seed, index) => {
      const finding = await judgeCase(target, caseOf(target, seed, index));
      if (finding) throw new Error(`${finding.kind}: ${finding.what}`);
    });
    await fc.assert(law, { numRuns: 150 });
  });
});
