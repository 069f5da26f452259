import type { DeviceId, ModelName } from '@drover/shared/ids';
import { orderKindOf } from '@drover/shared/manifest';
import type { Db } from '../database/index.js';

/** What agents take that say nothing about it: they are older than the word, or have not reported since they enrolled. */
const UNSAID = ['model', 'agent'] as const;

export const takenKinds = (takes: string | null | undefined): string[] =>
  takes === null || takes === undefined ? [...UNSAID] : (JSON.parse(takes) as string[]);

/**
 * Is this an order of a kind that the device can carry out, by its own signed word (docs/protocol.md, section 1)? An order of another kind would be
 * refused at best: an older agent cannot even read it.
 */
export async function takesKind(db: Db, device: DeviceId, line: ModelName): Promise<boolean> {
  // Every device serves models: most orders need no question.
  if (orderKindOf(line) === 'model') return true;
  return takes(db, device, orderKindOf(line));
}

/** Whether it takes documents of this name, by its own signed word. */
export async function takes(db: Db, device: DeviceId, name: string): Promise<boolean> {
  const said = await db.selectFrom('device_states').select('takes').where('device_id', '=', device).executeTakeFirst();
  return takenKinds(said?.takes).includes(name);
}
