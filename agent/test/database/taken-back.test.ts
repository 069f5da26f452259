import Database from 'better-sqlite3';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { DeviceId } from '@drover/shared/ids';
import { bulkSigner, createKeyPair } from '@drover/shared/trust';
import { openOutbox } from '../../src/link/index.js';
import { OUTBOX_MIGRATIONS } from '../../src/link/outbox-schema.js';
import { inlineTelemetry, openTelemetry } from '../../src/monitor/index.js';
import { TELEMETRY_MIGRATIONS } from '../../src/monitor/telemetry-schema.js';
import { openJournal } from '../../src/update/journal.js';
import { JOURNAL_MIGRATIONS } from '../../src/update/journal-schema.js';
import { createWriteGate } from '../../src/update/kill-points.js';
import { model, orderFor, publish } from '../update/fixtures/releases.js';
import { virtualClock } from '../update/fixtures/virtual-clock.js';
import { MODEL, RELEASE, served } from '../monitor/served-samples.js';

const DATABASES = {
  'journal.db': JOURNAL_MIGRATIONS,
  'outbox.db': OUTBOX_MIGRATIONS,
  'telemetry.db': TELEMETRY_MIGRATIONS,
};
const ADDITIVE =
  /^(CREATE (TABLE|INDEX|UNIQUE INDEX) |ALTER TABLE \w+ ADD COLUMN \w+ \w+( (NOT NULL )?DEFAULT [^,]+)?$)/;

describe('the schemas of the databases', () => {
  it.each(Object.entries(DATABASES))(
    'of %s only ever add, so that an agent that is taken back can use them',
    (_, scripts) => {
      const statements = scripts
        .join('\n')
        .replace(/--.*$/gm, '')
        .split(';')
        .map((statement) => statement.trim())
        .filter((statement) => statement !== '');
      for (const statement of statements) expect(statement).toMatch(ADDITIVE);
    },
  );
});

describe('when a newer agent has added columns and tables, and was taken back', () => {
  function dataDir(): string {
    const folder = mkdtempSync(join(tmpdir(), 'drover-taken-back-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    return folder;
  }
  /** To every table that there is: what a later version may do. */
  function addTo(file: string): void {
    const database = new Database(file);
    const tables = database
      .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
      .pluck()
      .all() as string[];
    for (const table of tables) database.exec(`ALTER TABLE ${table} ADD COLUMN later TEXT DEFAULT 'x'`);
    database.exec('CREATE TABLE of_later (id INTEGER PRIMARY KEY) STRICT');
    database.pragma(`user_version = ${Number(database.pragma('user_version', { simple: true })) + 3}`);
    database.close();
    expect(tables.length).toBeGreaterThan(0);
  }
  const onRebuilt = (error: unknown) => {
    throw error;
  };

  it('the journal is read and written', () => {
    const folder = dataDir();
    const open = () =>
      openJournal({ dataDir: folder, gate: createWriteGate(() => undefined), nowMs: () => 1, onRebuilt });
    const order = orderFor(publish('1.0.0'));
    const update = {
      state: 'probation',
      deployment: order,
      activated: true,
      interruptions: 0,
      closedOrderly: false,
    } as const;
    const before = open();
    before.write('test', { model, record: { pending: order }, update, timeFloorMs: 7 });
    before.close();
    addTo(join(folder, 'journal.db'));

    const after = open();
    expect(after.updates.get(model)).toEqual(update);
    after.write('test', {
      model,
      record: {},
      update: { ...update, state: 'falling-back' },
      timeFloorMs: 8,
      transition: { model, deployment: order, from: 'probation', to: 'falling-back', reason: 'taken back' },
    });
    after.close();
    const again = open();
    expect([again.updates.get(model)?.state, again.timeFloorMs()]).toEqual(['falling-back', 8]);
    again.close();
  });

  it('an update in a state that only the newer agent knows is taken back', () => {
    const folder = dataDir();
    const open = () =>
      openJournal({ dataDir: folder, gate: createWriteGate(() => undefined), nowMs: () => 1, onRebuilt });
    const deployment = orderFor(publish('1.0.0'));
    const journal = open();
    journal.write('test', {
      model,
      record: {},
      update: { state: 'probation', deployment, activated: true, interruptions: 0, closedOrderly: false },
    });
    journal.close();
    const database = new Database(join(folder, 'journal.db'));
    database.exec("UPDATE updates SET state = 'shadowing'");
    database.close();
    const again = open();
    expect(again.updates.get(model)).toMatchObject({ state: 'falling-back', activated: true });
    again.close();
  });

  it('the outbox keeps what waits, and takes more', () => {
    const folder = dataDir();
    const open = () =>
      openOutbox({
        dataDir: folder,
        deviceId: DeviceId('pump-7'),
        signer: bulkSigner(createKeyPair('d')),
        clock: virtualClock(),
      });
    const incident = { error: { code: 'X', what: 'x', remedy: 'x' } };
    const before = open();
    before.enqueue('incident', incident);
    before.close();
    addTo(join(folder, 'outbox.db'));
    const after = open();
    after.enqueue('incident', incident);
    expect(after.pending().reports).toBe(2);
    after.close();
  });

  it('telemetry is recorded as before', async () => {
    const file = join(dataDir(), 'telemetry.db');
    const open = () => inlineTelemetry(openTelemetry({ file, maxSamples: 100, nowMs: () => 1, onRebuilt }));
    const before = open();
    await before.record([served('r1', [[1, 2]])]);
    await before.close();
    addTo(file);
    const after = open();
    await after.record([served('r2', [[3, 4]])]);
    await after.label([{ model: MODEL, requestId: 'r1', atMs: 2, of: 'classes', labels: [0] }]);
    const window = await after.window({ model: MODEL, release: RELEASE.release.digest, afterId: 0, size: 2 });
    expect(window?.rows).toEqual(Float32Array.of(1, 2, 3, 4));
    await after.close();
  });
});
