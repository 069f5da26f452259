import { Type, type Static } from 'typebox';
import { NAME_PATTERN, type ModelName, type Version } from '@drover/shared/ids';
import { TrialMode, TrialTerms } from '@drover/shared/protocol';
import { Selector } from '../devices/index.js';

const MINUTE_MS = 60_000;
/** What nobody has ended in a month has been forgotten. */
const MAX_DURATION_MS = 30 * 24 * 60 * MINUTE_MS;

/** To try a release beside the one that serves, on some devices, for a time. */
export const TrialRequest = Type.Object(
  {
    model: Type.Unsafe<ModelName>(Type.String({ pattern: NAME_PATTERN })),
    version: Type.Unsafe<Version>(Type.String({ minLength: 5, maxLength: 64 })),
    selector: Selector,
    mode: TrialMode,
    /** Of the requests: those that are compared, or that the candidate answers. */
    share: Type.Number({ exclusiveMinimum: 0, maximum: 1 }),
    tolerance: TrialTerms.properties.tolerance,
    durationMs: Type.Integer({ minimum: MINUTE_MS, maximum: MAX_DURATION_MS }),
  },
  { additionalProperties: false },
);
export type TrialRequest = Static<typeof TrialRequest>;
