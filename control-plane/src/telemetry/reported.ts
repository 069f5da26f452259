import type { CodedErrorJson } from '@drover/shared/coded-error';
import type { DeploymentId, DeviceId, Digest, ModelName } from '@drover/shared/ids';
import type { RunningModel, UpdateState } from '@drover/shared/protocol';
import type { Db } from '../database/index.js';
import type { Outcome } from '../director/tables.js';
import type { DeviceModelTable } from './tables.js';

/** What a device says, signed, about one model. */
export interface ReportedModel {
  readonly deviceId: DeviceId;
  readonly model: ModelName;
  readonly running: RunningModel | undefined;
  readonly update: { readonly state: UpdateState; readonly deploymentId: DeploymentId | undefined };
  readonly accepted: { readonly epoch: number; readonly counter: number } | undefined;
  readonly lastOutcome:
    | {
        readonly deploymentId: DeploymentId;
        readonly digest: Digest;
        readonly outcome: Outcome;
        readonly error: CodedErrorJson | undefined;
      }
    | undefined;
  readonly receivedAt: number;
}

const toReportedModel = (row: DeviceModelTable): ReportedModel => ({
  deviceId: row.device_id,
  model: row.model,
  running: row.running === null ? undefined : (JSON.parse(row.running) as RunningModel),
  update: { state: row.update_state, deploymentId: row.update_deployment_id ?? undefined },
  accepted:
    row.accepted_epoch === null || row.accepted_counter === null
      ? undefined
      : { epoch: row.accepted_epoch, counter: row.accepted_counter },
  lastOutcome:
    row.outcome === null || row.outcome_deployment_id === null || row.outcome_digest === null
      ? undefined
      : {
          deploymentId: row.outcome_deployment_id,
          digest: row.outcome_digest,
          outcome: row.outcome,
          error: row.outcome_error === null ? undefined : (JSON.parse(row.outcome_error) as CodedErrorJson),
        },
  receivedAt: row.received_at,
});

/** The newest signed state of these devices (all their models), of one model (all its devices), or of everything. */
export async function reportedModels(
  db: Db,
  filter: { readonly devices?: readonly DeviceId[]; readonly model?: ModelName } = {},
): Promise<ReportedModel[]> {
  let query = db.selectFrom('device_models').selectAll().orderBy('device_id').orderBy('model');
  if (filter.devices !== undefined) query = query.where('device_id', 'in', filter.devices);
  if (filter.model !== undefined) query = query.where('model', '=', filter.model);
  return (await query.execute()).map(toReportedModel);
}
