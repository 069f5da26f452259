import { bytesToStrings, stringsToBytes } from '@drover/shared/manifest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  emptyTensor,
  fromBytes,
  fromFloat16,
  toBytes,
  toFloat16,
  transferables,
} from '../../src/serve/tensors/tensor.js';
import { DATATYPES } from './installed-identity.js';

describe('half-precision numbers', () => {
  it('when each of the 65,536 is read and written, it is the same; of NaN one is written', () => {
    for (let bits = 0; bits < 0x10000; bits++) {
      const value = fromFloat16(bits);
      expect(toFloat16(value)).toBe(Number.isNaN(value) ? 0x7e00 : bits);
    }
  });

  it('when a number lies between two, it becomes the nearer one, and on a tie the even one', () => {
    const positive = Array.from({ length: 0x7c00 }, (_, bits) => fromFloat16(bits));
    const indexOfCase = fc.integer({ min: 0, max: 0x7bfe });
    fc.assert(
      fc.property(indexOfCase, fc.double({ min: 0, max: 1, noNaN: true }), fc.boolean(), (low, share, isNegative) => {
        const [below, above] = [positive[low] ?? NaN, positive[low + 1] ?? NaN];
        const value = below + share * (above - below);
        const [toBelow, toAbove] = [value - below, above - value];
        const nearer = toBelow === toAbove ? low + (low % 2) : toBelow < toAbove ? low : low + 1;
        expect(toFloat16(isNegative ? -value : value)).toBe(isNegative ? nearer | 0x8000 : nearer);
      }),
      { examples: [[0, 0.5, false], [1, 0.5, true], [0x3ff, 0.5, false]] }, // prettier-ignore
    );
  });

  it.each([
    [65_519.99, 0x7bff],
    [65_520, 0x7c00],
    [-1e300, 0xfc00],
    [2 ** -25, 0],
    [2 ** -25 * 1.0001, 1],
    [-0, 0x8000],
  ])('when %d is written, it is bits %d', (value, bits) => {
    expect(toFloat16(value)).toBe(bits);
  });
});

describe('strings as bytes', () => {
  it('when any are written, the same are read', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' })), (strings) => {
        expect(bytesToStrings(stringsToBytes(strings), strings.length)).toEqual(strings);
      }),
    );
  });

  it('when there are more or fewer bytes than strings, nothing is read', () => {
    const bytes = stringsToBytes(['a', 'bc']);
    expect(bytesToStrings(bytes, 1)).toBeUndefined();
    expect(bytesToStrings(bytes, 3)).toBeUndefined();
    expect(bytesToStrings(bytes.subarray(0, -1), 2)).toBeUndefined();
    expect(bytesToStrings(bytes, 2 ** 31)).toBeUndefined();
  });

  it('when bytes are no UTF-8, they are refused, and not changed', () => {
    expect(() => bytesToStrings(Uint8Array.of(1, 0, 0, 0, 0xff), 1)).toThrow(TypeError);
  });
});

describe('tensors as bytes', () => {
  it.each(DATATYPES)('when %s is written at any offset, the same is read', (datatype) => {
    fc.assert(
      fc.property(fc.nat(3), fc.nat(3), fc.nat(9), (rows, columns, offset) => {
        const bytes = toBytes(emptyTensor(datatype, [rows, columns]));
        for (let index = 0; datatype !== 'BYTES' && index < bytes.length; index++) bytes[index] = index;
        const moved = new Uint8Array(offset + bytes.length);
        moved.set(bytes, offset);
        const tensor = fromBytes(datatype, [rows, columns], moved.subarray(offset));
        expect(tensor && Buffer.from(toBytes(tensor))).toEqual(Buffer.from(bytes));
      }),
    );
  });

  it('when tensors share a buffer with nothing else in it, it moves with them once; else it stays', () => {
    const buffer = new ArrayBuffer(16);
    const tensor = (start: number, length: number) =>
      ({ datatype: 'FP32', shape: [length], data: new Float32Array(buffer, start, length) }) as const;
    expect(transferables({ a: tensor(0, 2), b: tensor(8, 2) })).toEqual([buffer]);
    expect(transferables({ a: tensor(0, 2) })).toEqual([]);
    expect(transferables({ a: { datatype: 'BYTES', shape: [1], data: ['x'] } })).toEqual([]);
  });
});
