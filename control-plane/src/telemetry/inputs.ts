import type { Digest, ModelName, Version } from '@drover/shared/ids';
import type { Db } from '../database/index.js';

/** What became of the inputs of one release, all devices together. */
export interface ReleaseInputs {
  readonly release: { readonly version: Version; readonly digest: Digest };
  readonly devices: number;
  readonly rows: number;
  readonly refusedRequests: number;
  /** Those that were broken, or judged by a window; the one that most rows broke first. */
  readonly rules: RuleInputs[];
}

export interface RuleInputs {
  /** Its place among all rules of the contract. */
  readonly rule: number;
  readonly input: string;
  /** Absent for every value of the input. */
  readonly feature?: string;
  readonly says: string;
  readonly devices: number;
  readonly rows: number;
  readonly windows: number;
  readonly windowsBelow: number;
  /** Devices in whose newest window too few rows held. */
  readonly devicesBelow: number;
}

export interface InputsQuery {
  readonly model: ModelName;
  /** Hours of which something arrived since, in milliseconds since 1970. */
  readonly since?: number | undefined;
}

/** By release, in the order in which the fleet met them. */
export async function inputsOf(db: Db, { model, since = 0 }: InputsQuery): Promise<ReleaseInputs[]> {
  const releases = await db
    .selectFrom('input_hours')
    .select(({ fn }) => [
      'version',
      'digest',
      fn.count<number | string>('device_id').distinct().as('devices'),
      fn.sum<number | string>('rows').as('rows'),
      fn.sum<number | string>('refused_requests').as('refused'),
      fn.min('received_at').as('first'),
    ])
    .where('model', '=', model)
    .where('received_at', '>=', since)
    .groupBy(['version', 'digest'])
    .orderBy('first')
    .execute();
  const rules = await rulesOf(db, { model, since });
  return releases.map(({ version, digest, devices, rows, refused }) => ({
    release: { version, digest },
    devices: Number(devices),
    rows: Number(rows),
    refusedRequests: Number(refused),
    rules: rules.flatMap(({ digest: of, ...rule }) => (of === digest ? [rule] : [])),
  }));
}

async function rulesOf(db: Db, { model, since = 0 }: InputsQuery): Promise<(RuleInputs & { digest: Digest })[]> {
  const below = new Map<string, number>();
  for (const { digest, rule, devices } of await devicesBelow(db, model)) below.set(`${digest} ${rule}`, devices);
  const rows = await db
    .selectFrom('input_violations')
    .select(({ fn }) => [
      'digest',
      'rule',
      'input',
      'feature',
      'says',
      fn.count<number | string>('device_id').distinct().as('devices'),
      fn.sum<number | string>('rows').as('broken'),
      fn.sum<number | string>('windows').as('windows'),
      fn.sum<number | string>('windows_below').as('windows_below'),
    ])
    .where('model', '=', model)
    .where('received_at', '>=', since)
    .groupBy(['digest', 'rule', 'input', 'feature', 'says'])
    .orderBy('broken', 'desc')
    .orderBy('rule')
    .execute();
  return rows.map(({ digest, rule, input, feature, says, devices, broken, windows, windows_below }) => ({
    digest,
    rule,
    input,
    ...(feature === '' ? {} : { feature }),
    says,
    devices: Number(devices),
    rows: Number(broken),
    windows: Number(windows),
    windowsBelow: Number(windows_below),
    devicesBelow: below.get(`${digest} ${rule}`) ?? 0,
  }));
}

/** Devices that run the release and in whose newest window too few rows held, by the rule. */
export async function devicesBelow(
  db: Db,
  model?: ModelName,
): Promise<{ model: ModelName; digest: Digest; rule: number; devices: number }[]> {
  let query = db
    .selectFrom('input_violations as newest')
    .innerJoin('device_models', (join) =>
      join
        .onRef('device_models.device_id', '=', 'newest.device_id')
        .onRef('device_models.running_digest', '=', 'newest.digest'),
    )
    .select(({ fn }) => [
      'newest.model',
      'newest.digest',
      'newest.rule',
      fn.count<number | string>('newest.device_id').distinct().as('devices'),
    ])
    .where('newest.is_below', '=', 1)
    .where((where) =>
      where.not(
        where.exists(
          where
            .selectFrom('input_violations as newer')
            .select('newer.hour')
            .whereRef('newer.device_id', '=', 'newest.device_id')
            .whereRef('newer.digest', '=', 'newest.digest')
            .whereRef('newer.adaptation', '=', 'newest.adaptation')
            .whereRef('newer.rule', '=', 'newest.rule')
            .whereRef('newer.hour', '>', 'newest.hour')
            .where('newer.is_below', 'is not', null),
        ),
      ),
    )
    .groupBy(['newest.model', 'newest.digest', 'newest.rule']);
  if (model !== undefined) query = query.where('newest.model', '=', model);
  return (await query.execute()).map(({ devices, ...rule }) => ({ ...rule, devices: Number(devices) }));
}
