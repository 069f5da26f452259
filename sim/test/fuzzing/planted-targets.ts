import type { FuzzTarget } from '@drover/shared/fuzzing';

const seeds = () => [Buffer.from('{"kind":"planted","values":[1,2,3]}')];
const planted = (name: string, parse: FuzzTarget['parse']): FuzzTarget => ({
  name,
  covers: [],
  format: 'json',
  seeds,
  parse,
});
const differs = (bytes: Uint8Array): boolean => !Buffer.from(bytes).equals(seeds()[0] ?? Buffer.alloc(0));
/** Seen by the process as a whole: nothing of it is collected. */
const kept: Buffer[] = [];

/** Parsers with the faults that the fuzzer is there to find. */
export const targets: readonly FuzzTarget[] = [
  planted('sound', () => undefined),
  planted('throws', (bytes) => {
    if (differs(bytes)) throw new TypeError('planted');
  }),
  planted('takes-memory', (bytes) => {
    if (differs(bytes)) for (let index = 0; index < 40; index += 1) kept.push(Buffer.alloc(16 * 1024 * 1024, 1));
  }),
  planted('fills-the-heap', (bytes) => {
    const lists: number[][] = [];
    while (differs(bytes)) lists.push(Array.from({ length: 1_000_000 }, () => lists.length));
  }),
  planted('dies', (bytes) => {
    if (differs(bytes)) process.abort();
  }),
];
