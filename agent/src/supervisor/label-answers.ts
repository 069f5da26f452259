import type { DeviceId } from '@drover/shared/ids';
import { openLabelAnswers, type LabelOutcome, type SentLabelAnswer } from '@drover/shared/protocol';
import type { KeySet } from '@drover/shared/trust';
import type { Clock } from '../host/index.js';
import type { LabelDesk } from '../serve/index.js';
import type { InstalledModel } from '../update/index.js';

export interface LabelAnswersOptions {
  readonly deviceId: DeviceId;
  /** Whose signature counts, as for orders. */
  readonly director: () => KeySet;
  readonly desk: Pick<LabelDesk, 'answerLabel'>;
  /** What serves now. */
  readonly active: (model: SentLabelAnswer['model']) => InstalledModel | undefined;
  readonly clock: Pick<Clock, 'now'>;
  readonly onIncident: (error: unknown) => void;
}

/**
 * Joins answers that were given at the control plane as if they had been given here, and says what became of each. What is not signed by the director is
 * told and dropped. Answers for a model that does not serve now, and those that the disk did not take, are left without a word: they come again.
 * Never rejects, since neither a forged document nor a full disk may end the connection that brings orders.
 */
export async function takeLabelAnswers(bytes: Uint8Array, options: LabelAnswersOptions): Promise<LabelOutcome[]> {
  const { deviceId, director, desk, active, clock, onIncident } = options;
  const outcomes: LabelOutcome[] = [];
  try {
    for (const answer of openLabelAnswers(bytes, deviceId, director())) {
      const serving = active(answer.model);
      if (!serving) continue;
      const became = isFit(answer, serving) ? await desk.answerLabel({ ...answer, atMs: clock.now() }) : 'unfit';
      outcomes.push({ id: answer.id, became });
    }
  } catch (error) {
    onIncident(error);
  }
  return outcomes;
}

/** One label out of range would keep the model from being fine-tuned at all. */
const isFit = ({ label }: SentLabelAnswer, { manifest: { task } }: InstalledModel): boolean =>
  task.type === 'classification' && (label === null || label < (task.labels?.length ?? Infinity));
