import { Type, type Static } from 'typebox';
import { Tolerance } from '../tensors/index.js';
import { atMs, share } from './vocabulary.js';

/**
 * How a release is tried beside the one that serves (docs/protocol.md, section 4: trials). `shadow`: it runs on a sample of what was answered, and is compared.
 * `split`: it answers a share of the requests in its stead.
 */
export const TrialMode = Type.Enum(['shadow', 'split']);
export type TrialMode = Static<typeof TrialMode>;

export const TrialTerms = Type.Object(
  {
    mode: TrialMode,
    /** Of the requests that reach the trial. */
    share,
    /** Of a shadow: values and scores that differ by no more count as equal. */
    tolerance: Type.Optional(Tolerance),
    /** The device ends the trial then, by itself. One that has passed when the order arrives ends it at once. */
    until: atMs,
  },
  { additionalProperties: false },
);
export type TrialTerms = Static<typeof TrialTerms>;
