import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { DeviceId, ModelName, newDeploymentId, Version } from '@drover/shared/ids';
import { openReport, type Report, type ReportBody, type ReportKind } from '@drover/shared/protocol';
import { bulkSigner, createKeyPair, publicKeyOf } from '@drover/shared/trust';
import { openOutbox, type Outbox, type OutboxOptions } from '../../src/link/index.js';

const key = createKeyPair();
const deviceId = DeviceId('pump-7');
const telemetry: ReportBody<'telemetry'> = { windowMs: 1000, models: [] };
const incident: ReportBody<'incident'> = { error: { code: 'X', what: 'something', remedy: 'nothing' } };
const state = (agentVersion: string): ReportBody<'state'> => ({
  agentVersion,
  hardwareClass: 'c',
  attributes: {},
  models: [],
});
const transition: ReportBody<'transition'> = {
  deploymentId: newDeploymentId(),
  model: ModelName('m1'),
  release: { version: Version('1.0.0'), digest: `sha256:${'0'.repeat(64)}` as never },
  from: 'idle',
  to: 'received',
  reason: 'order 1.1',
};

let dataDir: string;
let outbox: Outbox;
const open = (change: Partial<OutboxOptions> = {}): Outbox =>
  (outbox = openOutbox({
    dataDir,
    deviceId,
    signer: bulkSigner(key),
    clock: { now: () => 1_767_225_600_000 },
    ...change,
  }));
beforeEach(async () => void (dataDir = await mkdtemp(join(tmpdir(), 'drover-outbox-'))));
afterEach(() => rm(dataDir, { recursive: true, force: true }));

/** Takes everything out as the link would, and verifies each signature. */
function takeAll(): Report[] {
  const reports: Report[] = [];
  for (let head = outbox.head(); head; head = outbox.head()) {
    reports.push(openReport(head.bytes, deviceId, { threshold: 1, keys: [publicKeyOf(key)] }));
    outbox.remove(head.sequence);
  }
  return reports;
}
const kinds = (reports: readonly Report[]) => reports.map(({ kind }) => kind);

describe('when reports are queued', () => {
  it('gives them out signed, in order, also after a restart', () => {
    open().enqueue('incident', incident);
    outbox.enqueue('telemetry', telemetry);
    outbox.close();
    open().enqueue('transition', transition);
    const reports = takeAll();
    expect(kinds(reports)).toEqual(['incident', 'telemetry', 'transition']);
    expect(reports.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
    outbox.close();
  });

  it('keeps only the latest state', () => {
    open().enqueue('state', state('1'));
    outbox.enqueue('incident', incident);
    outbox.enqueue('state', state('2'));
    expect(takeAll().map(({ sequence }) => sequence)).toEqual([2, 3]);
    outbox.close();
  });

  it('tells listeners until they leave', () => {
    let calls = 0;
    const leave = open().onAdded(() => (calls += 1));
    outbox.enqueue('incident', incident);
    leave();
    outbox.enqueue('incident', incident);
    expect(calls).toBe(1);
    outbox.close();
  });

  it('refuses a report that no receiver would read', () => {
    const huge = { error: { ...incident.error, what: 'x'.repeat(1024 * 1024) } };
    expect(() => open().enqueue('incident', huge)).toThrow(
      expect.objectContaining({ code: 'OUTBOX_REPORT_TOO_LARGE' }) as Error,
    );
    outbox.close();
  });
});

describe('when the broker is away for long', () => {
  it('drops the oldest telemetry first and says so once the queue has drained', () => {
    open({ maxReports: 10 });
    outbox.enqueue('transition', transition);
    for (let index = 0; index < 30; index += 1) outbox.enqueue('telemetry', telemetry);
    expect(outbox.pending()).toMatchObject({ reports: 10, dropped: 21 });
    outbox.close();
    const reports = (open({ maxReports: 10 }), takeAll());
    expect(kinds(reports)).toEqual(['transition', ...Array<string>(9).fill('telemetry'), 'incident']);
    expect((reports.at(-1)?.body as ReportBody<'incident'>).error).toMatchObject({
      code: 'OUTBOX_OVERFLOW',
      what: expect.stringContaining('21 telemetry') as string,
    });
    expect(outbox.pending()).toEqual({ reports: 0, bytes: 0, dropped: 0 });
    outbox.close();
  });

  it('keeps reports of what happened to twice the bound, and the state beyond it', () => {
    open({ maxReports: 10 });
    outbox.enqueue('state', state('1'));
    for (let index = 0; index < 40; index += 1) outbox.enqueue('transition', transition);
    expect(outbox.pending()).toMatchObject({ reports: 20, dropped: 21 });
    expect(kinds(takeAll()).slice(0, 2)).toEqual(['state', 'transition']);
    outbox.close();
  });

  it('never exceeds its bounds in bytes, whatever is queued', () => {
    const maxBytes = 20_000;
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom<ReportKind>('telemetry', 'incident', 'transition'), { maxLength: 150 }),
        (queued) => {
          open({ maxBytes });
          for (const kind of queued) outbox.enqueue(kind, { telemetry, incident, transition }[kind as 'telemetry']);
          const { bytes } = outbox.pending();
          let summed = 0;
          for (let head = outbox.head(); head; head = outbox.head()) {
            summed += head.bytes.length;
            outbox.remove(head.sequence);
          }
          outbox.close();
          expect(bytes).toBeLessThanOrEqual(2 * maxBytes);
          expect(summed).toBeGreaterThanOrEqual(bytes);
        },
      ),
      { numRuns: 10 },
    );
  });
});

describe('when the agent was stopped uncleanly or its files were damaged', () => {
  it('never repeats a sequence number after a power cut', () => {
    const lost = open();
    lost.enqueue('incident', incident);
    lost.enqueue('incident', incident);
    // No close: the process is gone, and the rows may be gone with it.
    open().enqueue('incident', incident);
    expect(takeAll().at(-1)?.sequence).toBeGreaterThan(2);
    lost.close();
  });

  it.each([
    ['cut short', '10'],
    ['zeroed', '\0\0\0\0'],
    ['emptied', ''],
    ['removed', undefined],
  ])('never repeats a sequence number after all was sent and its file was %s', async (_, damaged) => {
    open().enqueue('incident', incident);
    const [sent] = takeAll();
    outbox.close();
    const file = join(dataDir, 'outbox-sequence');
    await (damaged === undefined ? rm(file) : writeFile(file, damaged));
    open().enqueue('incident', incident);
    expect(takeAll().at(-1)?.sequence).toBeGreaterThan(1000 + (sent?.sequence ?? 0));
    outbox.close();
  });

  it('starts, and counts above the reports that wait, when the file of its numbers is an older one', async () => {
    open().enqueue('incident', incident);
    outbox.close();
    const older = await readFile(join(dataDir, 'outbox-sequence'));
    open();
    for (let report = 0; report < 3; report += 1) outbox.enqueue('incident', incident);
    outbox.close();
    await writeFile(join(dataDir, 'outbox-sequence'), older);
    open().enqueue('incident', incident);
    const sequences = takeAll().map(({ sequence }) => sequence);
    expect(new Set(sequences).size).toBe(sequences.length);
    outbox.close();
  });

  it('rebuilds a damaged file, reports it, and goes on counting', async () => {
    open().enqueue('incident', incident);
    outbox.close();
    await writeFile(join(dataDir, 'outbox.db'), Buffer.alloc(9000, 'damaged '));
    open();
    const [first] = takeAll();
    expect(first).toMatchObject({ kind: 'incident', sequence: 2, body: { error: { code: 'DATABASE_REBUILT' } } });
    outbox.close();
  });
});
