import { Type, type Static } from 'typebox';
import { NAME_PATTERN, type ModelName, type Version } from '@drover/shared/ids';
import { Probation } from '@drover/shared/protocol';
import { Selector } from '../devices/index.js';
import { RolloutError } from './errors.js';

const strict = { additionalProperties: false } as const;
const errorRate = Type.Number({ exclusiveMinimum: 0, maximum: 0.5 });
const share = Type.Number({ minimum: 0, maximum: 1 });

/** Cumulative: stage 2 with `share: 0.5` means half of all devices, those of stage 1 included. */
export const Stage = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 64 }),
    share: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 1 })),
    devices: Type.Optional(Type.Integer({ minimum: 1 })),
  },
  strict,
);
export type Stage = Static<typeof Stage>;

/** When a stage may be passed. A drop is a difference of accuracies: 0.05 is five points. */
export const Gate = Type.Object(
  {
    /** `failures`: for models whose truth nobody tells; accuracy is then not judged at all. */
    metric: Type.Enum(['accuracy', 'failures']),
    acceptableDrop: share,
    unacceptableDrop: share,
    /** Probability of failing a release whose drop is acceptable. */
    alpha: errorRate,
    /** Probability of passing a release whose drop is unacceptable. */
    beta: errorRate,
    /** Time between the last device's outcome and the earliest PASS. */
    minSoakMs: Type.Integer({ minimum: 0, maximum: 30 * 86_400_000 }),
    /** Time after which a stage without a PASS halts. */
    timeoutMs: Type.Integer({ minimum: 1, maximum: 90 * 86_400_000 }),
    failureShare: Type.Object({ acceptable: share, unacceptable: share }, strict),
  },
  strict,
);
export type Gate = Static<typeof Gate>;

export const RolloutRequest = Type.Object(
  {
    model: Type.Unsafe<ModelName>(Type.String({ pattern: NAME_PATTERN })),
    version: Type.Unsafe<Version>(Type.String({ minLength: 5, maxLength: 64 })),
    selector: Selector,
    stages: Type.Array(Stage, { minItems: 1, maxItems: 20 }),
    gate: Gate,
    probation: Probation,
    autoRevert: Type.Boolean(),
    /** Of models: devices whose parameters are not for this release may go on without them. */
    withoutParameters: Type.Optional(Type.Boolean()),
  },
  strict,
);
export type RolloutRequest = Static<typeof RolloutRequest>;

/** What the schema cannot say. Every problem is named, not only the first. @throws RolloutError ROLLOUT_INVALID */
export function checkRequest({ stages, gate, probation }: RolloutRequest): void {
  const problems: string[] = [];
  stages.forEach((stage, index) => {
    if ((stage.share === undefined) === (stage.devices === undefined)) {
      problems.push(`stage "${stage.name}" needs either "share" or "devices"`);
    }
    const before = stages[index - 1];
    if (before?.share !== undefined && stage.share !== undefined && stage.share <= before.share) {
      problems.push(`stage "${stage.name}" must be larger than the one before it: shares are cumulative`);
    }
    if (before?.devices !== undefined && stage.devices !== undefined && stage.devices <= before.devices) {
      problems.push(`stage "${stage.name}" must be larger than the one before it: numbers of devices are cumulative`);
    }
  });
  if (stages.at(-1)?.share !== 1) problems.push('the last stage must have "share": 1');
  if (new Set(stages.map(({ name }) => name)).size < stages.length) problems.push('two stages have one name');
  if (gate.unacceptableDrop <= gate.acceptableDrop)
    problems.push('"unacceptableDrop" must be larger than "acceptableDrop"');
  const { acceptable, unacceptable } = gate.failureShare;
  if (!(acceptable > 0 && acceptable < unacceptable && unacceptable < 1)) {
    problems.push('"failureShare" needs 0 < acceptable < unacceptable < 1');
  }
  if (gate.minSoakMs >= gate.timeoutMs) problems.push('"minSoakMs" must be shorter than "timeoutMs"');
  if (probation.maxMs < probation.minMs) problems.push('"probation.maxMs" must not be shorter than "probation.minMs"');
  if (problems.length === 0) return;
  throw new RolloutError('ROLLOUT_INVALID', `The rollout cannot be carried out: ${problems.join('; ')}.`, {
    remedy: 'Mend the request and send it again.',
  });
}
