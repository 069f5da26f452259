import { describe, expect, it } from 'vitest';
import { contractProblems, type InputContract, type InputRule } from '../../src/input-contract/index.js';

const numbers = { name: 'x', datatype: 'FP32', shape: [-1, 2] } as const;
const words = { name: 'w', datatype: 'BYTES', shape: [-1, 1] } as const;
const image = { name: 'i', datatype: 'UINT8', shape: [-1, 3, 8, 8] } as const;
const signature = [numbers, words, image];
const about = (name: string, rules: InputRule[], features?: string[]): InputContract => ({
  action: 'record',
  inputs: [{ name, ...(features && { features }), rules }],
});
const said = (contract: InputContract) =>
  contractProblems(contract, signature).map(({ path, message }) => `${path} ${message}`);

describe('a contract of inputs', () => {
  it('when it fits the model, has no problems', () => {
    const rules: InputRule[] = [
      { rule: 'range', column: 'hot', min: 0, max: 0 },
      { rule: 'range', column: 1, max: 3, strictMax: true, mostly: 0.9 },
      { rule: 'range', column: 1, max: 3, strictMax: true },
      { rule: 'present' },
      { rule: 'type', type: 'integer', column: 0 },
      { rule: 'set', values: [1, 2] },
    ];
    expect(said(about('x', rules, ['hot', 'cold']))).toEqual([]);
    expect(said(about('w', [{ rule: 'set', values: ['a', 'b'] }, { rule: 'present' }]))).toEqual([]);
    expect(said(about('i', [{ rule: 'range', max: 200 }]))).toEqual([]);
  });

  it.each([
    ['an input that the model has not', about('y', [{ rule: 'present' }]), 'the inputs of the model are "x", "w", "i"'],
    ['a range without bounds', about('x', [{ rule: 'range' }]), 'needs "min" or "max"'],
    ['a range that is empty', about('x', [{ rule: 'range', min: 2, max: 1 }]), 'is met by nothing'],
    ['a strict range of one number', about('x', [{ rule: 'range', min: 1, max: 1, strictMin: true }]), 'is met by nothing'], // prettier-ignore
    ['a strict bound that is not there', about('x', [{ rule: 'range', min: 1, strictMax: true }]), '"strictMax" without "max"'], // prettier-ignore
    ['a set without values', about('x', [{ rule: 'set' }]), 'needs "values"'],
    ['a value twice', about('x', [{ rule: 'set', values: [1, 1] }]), 'names one of its values twice'],
    ['a type that is not said', about('x', [{ rule: 'type' }]), 'needs "type"'],
    [
      'a key of another rule',
      about('x', [{ rule: 'present', max: 1 }]),
      'has "max", which a rule "present" cannot have',
    ],
    ['an unknown column', about('x', [{ rule: 'present', column: 'hot' }]), 'is not among "features"'],
    ['a column beyond the last', about('x', [{ rule: 'present', column: 2 }]), 'the columns are 0 to 1'],
    ['a column of an image', about('i', [{ rule: 'present', column: 0 }]), 'only inputs of two axes have columns'],
    ['a range of strings', about('w', [{ rule: 'range', min: 1 }]), 'the input holds strings (BYTES)'],
    ['numbers for strings', about('w', [{ rule: 'set', values: [1] }]), 'has values that are no strings'],
    ['strings for numbers', about('x', [{ rule: 'set', values: ['1'] }]), 'has values that are no numbers'],
    ['the same rule twice', about('x', [{ rule: 'present', column: 0 }, { rule: 'present', column: 'a' }], ['a', 'b']), 'says what an earlier rule says'], // prettier-ignore
    ['too many names', about('x', [{ rule: 'present' }], ['a', 'b', 'c']), 'names 3 columns; the input has 2'],
    ['a name twice', about('x', [{ rule: 'present' }], ['a', 'a']), 'names a column twice'],
    ['names for an image', about('i', [{ rule: 'present' }], ['a']), 'names columns of an input of 4 axes'],
  ])('when it has %s, says so and where', (_, contract, problem) => {
    const [found, ...more] = said(contract);
    expect(found).toContain(problem);
    expect(found).toMatch(/^\/inputs\/0/);
    expect(more).toEqual([]);
  });

  it('when an input comes twice, says so', () => {
    const [input] = about('x', [{ rule: 'present' }]).inputs;
    expect(input && said({ action: 'record', inputs: [input, input] })).toEqual([
      '/inputs/1 is about "x" a second time',
    ]);
  });
});
