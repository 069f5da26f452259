import type { SeededRandom } from '../statistics/index.js';

const INTERESTING = [0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff, 0x22, 0x5b, 0x7b, 0x5c, 0x0a];
const RUNS = [2, 16, 256, 4_096];

type Mutation = (bytes: Buffer, random: SeededRandom, other: Uint8Array) => Buffer;

const place = (bytes: Uint8Array, random: SeededRandom): number => random.nextInt(bytes.length + 1);
const pick = <Item>(items: readonly Item[], random: SeededRandom): Item => items[random.nextInt(items.length)] as Item;
const randomBytes = (length: number, random: SeededRandom): Buffer =>
  Buffer.from(Array.from({ length }, () => random.nextInt(256)));

function range(bytes: Uint8Array, random: SeededRandom): [number, number] {
  const from = place(bytes, random);
  return [from, Math.min(bytes.length, from + 1 + random.nextInt(64))];
}

const insert = (bytes: Buffer, at: number, more: Uint8Array): Buffer =>
  Buffer.concat([bytes.subarray(0, at), more, bytes.subarray(at)]);

function overwrite(bytes: Buffer, at: number, more: Uint8Array): Buffer {
  const copy = Buffer.from(bytes);
  copy.set(more.subarray(0, Math.max(0, copy.length - at)), at);
  return copy;
}

const MUTATIONS: Readonly<Record<string, Mutation>> = {
  flipBit(bytes, random) {
    if (bytes.length === 0) return bytes;
    const copy = Buffer.from(bytes);
    const at = random.nextInt(copy.length);
    copy.writeUInt8(copy.readUInt8(at) ^ (1 << random.nextInt(8)), at);
    return copy;
  },
  setByte: (bytes, random) => overwrite(bytes, place(bytes, random), Buffer.from([pick(INTERESTING, random)])),
  truncate: (bytes, random) => bytes.subarray(0, place(bytes, random)),
  dropHead: (bytes, random) => bytes.subarray(place(bytes, random)),
  cutOut(bytes, random) {
    const [from, to] = range(bytes, random);
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]);
  },
  repeat(bytes, random) {
    const [from, to] = range(bytes, random);
    const block = bytes.subarray(from, to);
    return insert(bytes, to, Buffer.concat(Array.from({ length: pick(RUNS, random) }, () => block)));
  },
  insertNoise: (bytes, random) => insert(bytes, place(bytes, random), randomBytes(1 + random.nextInt(16), random)),
  insertRun: (bytes, random) =>
    insert(bytes, place(bytes, random), Buffer.alloc(pick(RUNS, random), pick(INTERESTING, random))),
  /** A length or number of all ones, in the widths that binary formats use. */
  hugeNumber: (bytes, random) =>
    overwrite(bytes, place(bytes, random), Buffer.alloc(pick([1, 2, 4, 8, 10], random), 0xff)),
  splice: (bytes, random, other) =>
    Buffer.concat([bytes.subarray(0, place(bytes, random)), other.subarray(place(other, random))]),
  swap(bytes, random) {
    const [from, to] = range(bytes, random);
    const at = place(bytes, random);
    return overwrite(bytes, at, bytes.subarray(from, to));
  },
};
const ALL = Object.values(MUTATIONS);

/** One change to `bytes`; `other` is another valid document to take parts from. */
export const mutateBytes = (bytes: Uint8Array, random: SeededRandom, other: Uint8Array): Uint8Array =>
  pick(ALL, random)(Buffer.from(bytes), random, other);

export { pick, randomBytes };
