import fc from 'fast-check';
import { contractProblems, InputChecker } from '@drover/shared/input-contract';
import { describe, expect, it } from 'vitest';
import { deriveContract } from '../../../src/cli/input-contract/derive.js';
import type { Samples } from '../../../src/cli/release-builder/samples.js';

const samplesOf = (names: string[], rows: number[][]): Samples => ({
  names,
  values: Float32Array.from(rows.flat()),
  count: rows.length,
  width: names.length,
  labels: undefined,
  streams: undefined,
});

describe('a contract that is made of samples', () => {
  it('has ranges with a margin, sets of few whole numbers, and allows to be missing what was', () => {
    const rows = Array.from({ length: 60 }, (_, row) => [row / 59, row % 3, row === 7 ? NaN : 5.5]);
    expect(deriveContract('x', samplesOf(['heat', 'gear', 'load'], rows))).toEqual({
      action: 'record',
      inputs: [
        {
          name: 'x',
          features: ['heat', 'gear', 'load'],
          rules: [
            { rule: 'present', column: 'heat' },
            { rule: 'range', column: 'heat', min: -0.1, max: 1.1 },
            { rule: 'present', column: 'gear' },
            { rule: 'set', column: 'gear', values: [0, 1, 2] },
            { rule: 'range', column: 'load', min: 4.95, max: 6.05 },
          ],
        },
      ],
    });
  });

  it('asks once for all that nothing is missing, where nothing was', () => {
    const [input] = deriveContract('x', samplesOf(['a', 'b'], [[1, 2], [3, 4]])).inputs; // prettier-ignore
    expect(input?.rules.filter(({ rule }) => rule === 'present')).toEqual([{ rule: 'present' }]);
  });

  it('cannot be made where every value is missing', () => {
    const nothing = samplesOf(['a'], [[NaN], [NaN]]);
    expect(() => deriveContract('x', nothing)).toThrow(expect.objectContaining({ code: 'CLI_SAMPLES_UNFIT' }));
  });

  it('is sound, and the samples keep it', () => {
    const value = fc.oneof(fc.constantFrom(NaN, 0, 1, 2), fc.float({ noDefaultInfinity: true, noNaN: true }));
    fc.assert(
      fc.property(fc.array(fc.tuple(value, value), { minLength: 1 }), (rows) => {
        fc.pre(!rows.flat().every(Number.isNaN));
        const samples = samplesOf(['a', 'b'], rows);
        const contract = deriveContract('x', samples);
        const signature = [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }] as const;
        expect(contractProblems(contract, signature)).toEqual([]);
        const tensor = { datatype: 'FP32', shape: [rows.length, 2], data: samples.values.slice() } as const;
        expect(new InputChecker(contract, signature).check({ x: tensor }).counts).toEqual([]);
      }),
    );
  });
});
