import { CodedError, toCodedErrorJson } from '@drover/shared/coded-error';
import type { DeviceId } from '@drover/shared/ids';
import { deviceOfTopic, openReport, type Report } from '@drover/shared/protocol';
import type { KeySet } from '@drover/shared/trust';
import { toDatabaseError, type Db } from '../database/index.js';
import { audit } from '../governance/index.js';
import { TelemetryError } from './errors.js';
import { pruneReports } from './retention.js';
import { storeReport } from './store-report.js';

/** Who is asked for the key that a device's reports must be signed with. */
export interface DeviceKeys {
  publicKeyOf(id: DeviceId): Promise<KeySet>;
}

export interface IngestOptions {
  readonly db: Db;
  readonly devices: DeviceKeys;
  readonly now: () => number;
  /** Is told of each report that was new, after it is stored. What it throws is reported through `onListenerError`, never to the device. */
  readonly onReport?: (report: Report, rowId: number) => Promise<void>;
  readonly onListenerError?: (error: unknown) => void;
}

export interface Ingest {
  /**
   * Takes one message of the broker. Resolves when the report is stored, is a repetition, or was refused and counted;
   * rejects when it could not be stored, so that the device sends it again.
   */
  receive(topic: string, payload: Uint8Array): Promise<'stored' | 'repeated' | 'refused'>;
  /** Deletes what retention no longer covers. */
  prune(): Promise<number>;
}

/** A device that sends one bad report sends many; the audit log gets one line per device and code in this time, the count gets all. */
const AUDIT_EVERY_MS = 60_000;
const REPEATED = 'REPORT_REPEATED';

export function createIngest({ db, devices, now, onReport, onListenerError }: IngestOptions): Ingest {
  const refuse = async (device: string, error: CodedError, atMs: number): Promise<void> => {
    await db.transaction().execute(async (trx) => {
      const key = { device_id: device as DeviceId, code: error.code };
      const known = await trx
        .selectFrom('report_refusals')
        .selectAll()
        .where('device_id', '=', key.device_id)
        .where('code', '=', key.code)
        .executeTakeFirst();
      // A repetition is ordinary on a bad link: it is counted, and is no event by itself.
      const isQuiet = error.code === REPEATED || (known && atMs - known.last_at < AUDIT_EVERY_MS);
      await trx
        .insertInto('report_refusals')
        .values({ ...key, count: 1, last_at: atMs })
        .onConflict((conflict) =>
          conflict
            .columns(['device_id', 'code'])
            .doUpdateSet({ count: (known?.count ?? 0) + 1, last_at: isQuiet && known ? known.last_at : atMs }),
        )
        .execute();
      if (!isQuiet) {
        const detail = { ...toCodedErrorJson(error) };
        await audit(trx).append({ actor: device, action: 'report.refused', subject: device, detail, at: atMs });
      }
    });
  };

  return {
    async receive(topic, payload) {
      const receivedAt = now();
      const device = deviceOfTopic(topic, 'reports');
      let report: Report;
      try {
        if (!device) throw topicUnknown(topic);
        // docs/protocol.md, section 5: the signature of the topic's device, before anything is read.
        report = openReport(payload, device, await devices.publicKeyOf(device));
      } catch (error) {
        // Only what the sender got wrong is final. A failing database is ours: the device keeps the report.
        if (!(error instanceof CodedError) || error.retryable || error.fault === 'bug') throw toDatabaseError(error);
        await refuse(device ?? 'unknown', error as CodedError, receivedAt);
        return 'refused';
      }
      let rowId: number | undefined;
      try {
        rowId = await storeReport(db, report, payload, receivedAt);
      } catch (error) {
        throw toDatabaseError(error);
      }
      if (rowId === undefined) {
        await refuse(report.deviceId, repeated(report), receivedAt);
        return 'repeated';
      }
      try {
        await onReport?.(report, rowId);
      } catch (error) {
        onListenerError?.(error);
      }
      return 'stored';
    },

    prune: () => pruneReports(db, now()),
  };
}

const topicUnknown = (topic: string) =>
  new TelemetryError('REPORT_TOPIC_UNKNOWN', `${JSON.stringify(topic.slice(0, 200))} is no topic of reports.`, {
    remedy: 'Update whichever of agent and control plane is older.',
  });

const repeated = ({ deviceId, sequence }: Report) =>
  new TelemetryError(REPEATED, `The report ${sequence} of ${deviceId} is here already.`, {
    remedy: 'Nothing, while there are few. If they go on, look for somebody who plays back what devices sent.',
  });
