import type { CheckedInputs, RuleCount } from '@drover/shared/input-contract';
import type { InstalledModel } from '../../update/ports.js';
import { ServeError } from '../errors.js';
import type { InputCounts, RuleViolations, ServedBy } from '../recorder.js';

const NONE: readonly RuleViolations[] = [];
/** Of one request: a row of rubbish in a wide input breaks thousands. */
const MAX_VIOLATIONS = 128;

export const inputCounts = (
  servedBy: ServedBy,
  { rows, counts, offence }: CheckedInputs,
  atMs: number,
): InputCounts => ({
  ...servedBy,
  atMs,
  rows,
  refusedRequests: offence ? 1 : 0,
  violations: counts.length === 0 ? NONE : counts.slice(0, MAX_VIOLATIONS).map(toViolations),
});

const toViolations = ({ rule, rows, share }: RuleCount): RuleViolations => ({
  rule: rule.index,
  input: rule.input,
  feature: rule.feature,
  says: rule.says,
  rows,
  windows: share === undefined ? 0 : 1,
  windowsBelow: share !== undefined && share < rule.mostly ? 1 : 0,
  ...(share === undefined ? {} : { share, isBelow: share < rule.mostly }),
});

/** @throws ServeError INPUT_CONTRACT_VIOLATED where the release refuses such requests (docs/protocol.md, section 9) */
export function verifyContract({ model, release }: InstalledModel, { offence }: CheckedInputs): void {
  if (!offence) return;
  const { rule, row, value } = offence;
  const column = rule.feature === '' ? '' : `, column ${JSON.stringify(rule.feature)}`;
  throw new ServeError(
    'INPUT_CONTRACT_VIOLATED',
    `${model} ${release.version} refuses this request: input "${rule.input}", row ${row}${column} is ${value}, and must be ${rule.says}.`,
    { remedy: 'Mend the value where it comes from, or leave the row out; the contract is signed with the release.' },
  );
}
