import { connectAsync } from 'mqtt';
import { reportsTopic, signReport, type Report } from '@drover/shared/protocol';
import { bulkSigner, decodeEnvelope } from '@drover/shared/trust';
import type { Attack } from './attack.js';
import { MODEL, type AttackWorld } from './world.js';

const victimTopic = ({ victim }: AttackWorld): string => reportsTopic(victim.id);

/** What a report says, whoever signed it: the attacker reads along. */
const overheard = (bytes: Buffer): Report =>
  JSON.parse(Buffer.from(decodeEnvelope(bytes).payload, 'base64').toString('utf8')) as Report;

interface FieldView {
  readonly id: string;
  readonly models: readonly {
    readonly model: string;
    readonly running?: { readonly release: { readonly version: string } };
  }[];
}
async function versionSeen({ controlPlane, victim }: AttackWorld): Promise<string | undefined> {
  const { items } = await controlPlane.operator.get<{ items: FieldView[] }>('/api/v1/devices');
  return items.find(({ id }) => id === victim.id)?.models.find(({ model }) => model === MODEL)?.running?.release
    .version;
}
async function reportsStored({ controlPlane, victim }: AttackWorld): Promise<number> {
  let count = 0;
  for (let from: number | undefined = 0; from !== undefined;) {
    const page: { items: { id: number }[]; next?: number } = await controlPlane.operator.get(
      `/api/v1/reports?device=${victim.id}&after=${from}`,
    );
    count += page.items.length;
    from = page.next;
  }
  return count;
}
/** A counter of /metrics, over all of its labels. */
async function counter({ controlPlane }: AttackWorld, pattern: RegExp): Promise<number> {
  const response = await fetch(`${controlPlane.httpUrl}/metrics`, {
    headers: { authorization: `Bearer ${controlPlane.adminToken}` },
  });
  const lines = (await response.text()).split('\n').filter((line) => pattern.test(line));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

/** Attacks on what an operator believes about a device. */
export const reportAttacks: readonly Attack[] = [
  {
    name: 'a replayed device report',
    attackerHas: 'the broker',
    async carryOut(world) {
      // The state in which the victim still ran the older release.
      const old = world.reports.find((bytes) => {
        const report = overheard(bytes);
        return report.kind === 'state' && report.body.models[0]?.running?.release.version === world.older.version;
      });
      if (!old) throw new Error('No state report of the older release was overheard.');
      const counted = await counter(world, /^drover_reports_refused.*REPORT_REPEATED/);
      const before = { stored: await reportsStored(world), seen: await versionSeen(world) };
      await world.service.publishAsync(victimTopic(world), old, { qos: 1 });
      await world.until('the repetition to be counted', async () =>
        (await counter(world, /^drover_reports_refused.*REPORT_REPEATED/)) > counted ? true : undefined,
      );
      const after = { stored: await reportsStored(world), seen: await versionSeen(world) };
      if (after.stored !== before.stored || after.seen !== before.seen)
        throw new Error(`The repetition changed ${JSON.stringify(before)} to ${JSON.stringify(after)}.`);
      return { code: 'REPORT_REPEATED', seenIn: 'metrics' };
    },
  },
  {
    name: 'a forged "running" report',
    attackerHas: "the broker and another device's key",
    async carryOut(world) {
      const watch = await world.watch();
      const newest = world.reports.map(overheard).findLast(({ kind }) => kind === 'state');
      if (newest?.kind !== 'state') throw new Error('No state report was overheard.');
      const [model] = newest.body.models;
      if (!model?.running) throw new Error('The victim runs nothing.');
      const { version, digest } = world.older;
      const running = { ...model.running, release: { version, digest }, loaded: digest };
      const lie: Report = {
        ...newest,
        sequence: newest.sequence + 1_000_000,
        at: Date.now(),
        body: { ...newest.body, models: [{ ...model, running }] },
      };
      await world.service.publishAsync(victimTopic(world), signReport(lie, bulkSigner(world.stolenDevice.key)), {
        qos: 1,
      });
      const { code } = await watch.audit('report.refused');
      const seen = await versionSeen(world);
      if (seen !== world.base.version) throw new Error(`The operator is told that the victim runs ${String(seen)}.`);
      return { code: String(code), seenIn: 'audit log' };
    },
  },
  {
    name: "a device that publishes on another's topic",
    attackerHas: 'a device',
    async carryOut(world) {
      const refusedBefore = await counter(world, /BROKER_TOPIC_REFUSED/);
      const { id, credential, key } = world.stolenDevice;
      const before = await reportsStored(world);
      const client = await connectAsync(world.controlPlane.mqttUrl, {
        username: id,
        password: credential,
        clientId: id,
        protocolVersion: 4,
        reconnectPeriod: 0,
      });
      let isCut = false;
      client.once('close', () => (isCut = true));
      const lie = { ...overheard(world.reports.at(-1) ?? Buffer.alloc(0)), deviceId: world.victim.id } as Report;
      client.publish(victimTopic(world), signReport(lie, bulkSigner(key)), { qos: 1 });
      await world.until('the connection to be cut', () => (isCut ? true : undefined));
      await world.until('the refusal to be counted', async () =>
        (await counter(world, /BROKER_TOPIC_REFUSED/)) > refusedBefore ? true : undefined,
      );
      if ((await reportsStored(world)) > before + 5) throw new Error('The report was stored.');
      return { code: 'BROKER_TOPIC_REFUSED', seenIn: 'metrics' };
    },
  },
];
