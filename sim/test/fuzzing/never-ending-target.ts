import type { FuzzTarget } from '@drover/shared/fuzzing';

const seed = Buffer.from('{"kind":"planted"}');

/** A parser that hangs on everything but its valid document. Apart from the others: how soon it is ended must not decide about them. */
export const targets: readonly FuzzTarget[] = [
  {
    name: 'never-ends',
    covers: [],
    format: 'json',
    seeds: () => [seed],
    parse(bytes) {
      while (!seed.equals(bytes));
    },
  },
];
