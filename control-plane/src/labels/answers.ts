import type { DeviceId, LabelRequestId } from '@drover/shared/ids';
import type { Db } from '../database/index.js';
import { audit } from '../governance/index.js';
import { classNames, type ClassNames } from './class-names.js';
import { LabelError } from './errors.js';
import type { LabelRequestTable } from './tables.js';

/** A class by its name as the release has it that served the row, else by its index; null from somebody who can't tell either. */
export type GivenLabel = number | string | null;

export interface GivenAnswer {
  readonly id: LabelRequestId;
  readonly label: GivenLabel;
}

/** What became of it here; what becomes of it on the device is in the request. */
export type Taken =
  | { readonly id: LabelRequestId; readonly device: DeviceId }
  | { readonly id: LabelRequestId; readonly error: LabelError };

/**
 * Takes answers, each for itself; one that is refused keeps none of the others. The same answer again changes nothing.
 *
 * @param by who answers, for the audit log
 */
export function takeAnswers(db: Db, given: readonly GivenAnswer[], by: string, atMs: number): Promise<Taken[]> {
  return db.transaction().execute(async (trx) => {
    const names = classNames(trx);
    const taken: Taken[] = [];
    for (const answer of given) {
      try {
        taken.push({ id: answer.id, device: await takeAnswer(trx, answer, { by, atMs, names }) });
      } catch (error) {
        if (!(error instanceof LabelError)) throw error;
        taken.push({ id: answer.id, error });
      }
    }
    return taken;
  });
}

interface AnswerFacts {
  readonly by: string;
  readonly atMs: number;
  readonly names: ClassNames;
}

/** Throws before it changes anything. @throws LabelError */
async function takeAnswer(trx: Db, { id, label }: GivenAnswer, { by, atMs, names }: AnswerFacts): Promise<DeviceId> {
  const request = await trx
    .selectFrom('label_requests')
    .innerJoin('devices', 'devices.id', 'label_requests.device_id')
    .selectAll('label_requests')
    .where('label_requests.id', '=', id)
    .where('revoked_at', 'is', null)
    .executeTakeFirst();
  if (!request) throw gone(id);
  const index = classOf(request, label, await names(request.model, request.version));
  if (request.answered_at !== null) {
    if (request.label === index) return request.device_id;
    throw answered(id, request.answered_by ?? '');
  }
  if (request.expires_at <= atMs) throw gone(id);
  await trx
    .updateTable('label_requests')
    .set({ answered_at: atMs, answered_by: by, label: index })
    .where('id', '=', id)
    .execute();
  const detail = { device: request.device_id, release: `${request.model}@${request.version}`, label: index };
  await audit(trx).append({ actor: by, action: 'label.answer', subject: id, detail, at: atMs });
  return request.device_id;
}

/** @throws LabelError LABEL_CLASS_UNKNOWN */
function classOf(
  { id, model, version }: Pick<LabelRequestTable, 'id' | 'model' | 'version'>,
  label: GivenLabel,
  names: readonly string[] | undefined,
): number | null {
  if (label === null) return null;
  const named = typeof label === 'string' ? (names ?? []).indexOf(label) : -1;
  if (named >= 0) return named;
  const index = typeof label === 'string' && /^\d{1,9}$/.test(label) ? Number(label) : label;
  if (typeof index === 'number' && index < (names?.length ?? Infinity)) return index;
  const known = names ? `: ${names.slice(0, NAMED).join(', ')}${names.length > NAMED ? ', …' : ''}` : '';
  throw new LabelError('LABEL_CLASS_UNKNOWN', `${model}@${version} has no class ${JSON.stringify(label)}.`, {
    where: id,
    remedy: names
      ? `Give one of its ${names.length} classes by name${known}; or by index, 0 to ${names.length - 1}.`
      : 'Give the index of the class: this release has no names for its classes, or is not known here.',
  });
}

const NAMED = 20;

export const gone = (id: string) =>
  new LabelError('LABEL_REQUEST_GONE', `No label is asked for under the id ${id}.`, {
    where: id,
    remedy: 'List what is asked for (`drover labels list`): the device has its label already, or the time is over.',
  });

const answered = (id: string, by: string) =>
  new LabelError('LABEL_REQUEST_ANSWERED', `${by} has answered this request otherwise.`, {
    where: id,
    remedy: 'Nothing: the first answer counts, on the device too. Talk to whoever gave it.',
  });
