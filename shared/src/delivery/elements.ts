import { ELEMENT_BYTES, type ElementType } from './element-type.js';

/** Elements as unsigned integers, copied to where they are aligned. All machines that Drover runs on are little-endian, as ONNX is. */
export function toWords(content: Uint8Array, type: ElementType): Uint32Array {
  const width = ELEMENT_BYTES[type];
  const count = content.length / width;
  const words = new Uint32Array(count);
  if (width === 4) new Uint8Array(words.buffer).set(content);
  if (width === 2) {
    for (let index = 0; index < count; index++) {
      words[index] = (content[2 * index] ?? 0) | ((content[2 * index + 1] ?? 0) << 8);
    }
  }
  if (width === 1) words.set(content);
  return words;
}

export function fromWords(words: Uint32Array, type: ElementType): Uint8Array {
  const width = ELEMENT_BYTES[type];
  if (width === 4) return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  if (width === 1) return Uint8Array.from(words);
  const halves = Uint16Array.from(words);
  return new Uint8Array(halves.buffer, halves.byteOffset, halves.byteLength);
}

const widthBits = (type: ElementType): number => 8 * ELEMENT_BYTES[type];

/** Moves the sign below the mantissa, so that the exponent is whole and on top. */
export function rotateSigns(words: Uint32Array, type: ElementType): void {
  const shift = widthBits(type) - 1;
  const mask = widthBits(type) === 32 ? 0xffffffff : (1 << widthBits(type)) - 1;
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? 0;
    words[index] = ((word << 1) | (word >>> shift)) & mask;
  }
}

export function restoreSigns(words: Uint32Array, type: ElementType): void {
  const shift = widthBits(type) - 1;
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? 0;
    words[index] = (word >>> 1) | ((word & 1) << shift);
  }
}

/**
 * Numbers of the same order as the floats themselves: neighbours differ by one, also across zero (IEEE 754 totalOrder). Integers are what they are.
 * Modulo the width, so that no difference can overflow. Its own inverse.
 */
const ordered = (word: number, signBit: number): number => ((word & signBit) === 0 ? word : signBit - 1 - word);

/** target − base in that order, folded so that small differences of both signs are small numbers (zigzag). */
export function differences(target: Uint32Array, base: Uint32Array, type: ElementType): Uint32Array {
  const unused = 32 - widthBits(type);
  const signBit = type === 'int8' ? 0 : (1 << (widthBits(type) - 1)) >>> 0;
  const folded = new Uint32Array(target.length);
  for (let index = 0; index < target.length; index++) {
    const difference = (ordered(target[index] ?? 0, signBit) - ordered(base[index] ?? 0, signBit)) | 0;
    const signed = (difference << unused) >> unused;
    folded[index] = (signed << 1) ^ (signed >> 31);
  }
  return folded;
}

/** The inverse of `differences`, in place of `folded`. */
export function addDifferences(folded: Uint32Array, base: Uint32Array, type: ElementType): void {
  const mask = widthBits(type) === 32 ? 0xffffffff : (1 << widthBits(type)) - 1;
  const signBit = type === 'int8' ? 0 : (1 << (widthBits(type) - 1)) >>> 0;
  for (let index = 0; index < folded.length; index++) {
    const value = folded[index] ?? 0;
    const difference = (value >>> 1) ^ -(value & 1);
    const sum = (ordered(base[index] ?? 0, signBit) + difference) & mask;
    folded[index] = ordered(sum, signBit) & mask;
  }
}
