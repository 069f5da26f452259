import { copyFile, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { agentVersion, type AgentConfig } from '../config/index.js';
import { openSqlite, type DatabaseError } from '../database/index.js';
import { systemCode } from '../host/index.js';
import { loadDeviceKey, loadIdentity } from '../identity/index.js';
import { OUTBOX_MIGRATIONS } from '../link/outbox-schema.js';
import { TELEMETRY_MIGRATIONS } from '../monitor/telemetry-schema.js';
import { JOURNAL_MIGRATIONS } from '../update/journal-schema.js';
import { provenProvider } from './proven-provider.js';
import type { Terminal } from './terminal.js';

/** Larger ones are not copied: their schema is brought forward the same way as that of small ones. */
const MAX_COPY_BYTES = 64 * 1024 ** 2;

/**
 * Can this version run on this device? Configuration and identity are read, copies of the databases are opened and brought to this version's
 * schema, and a model runs. Changes nothing, so that the version that runs may go on meanwhile.
 *
 * @throws what does not work
 */
export async function selfTest(config: AgentConfig, nonce: string, terminal: Terminal): Promise<void> {
  await loadIdentity(config.dataDir);
  await loadDeviceKey(config.dataDir);
  const folder = await mkdtemp(join(tmpdir(), 'drover-self-test-'));
  try {
    const opened: string[] = [];
    for (const [name, migrations] of Object.entries({
      'journal.db': JOURNAL_MIGRATIONS,
      'outbox.db': OUTBOX_MIGRATIONS,
      'telemetry.db': TELEMETRY_MIGRATIONS,
    }))
      if (await openCopy(config.dataDir, name, migrations, folder)) opened.push(name);
    const { actual } = await provenProvider(folder, config.serve.providers, (file, bytes) =>
      writeFile(join(folder, file), bytes),
    );
    const summary = `configuration and identity read, ${opened.join(', ') || 'no database'} opened, a model ran on ${actual}`;
    terminal.stdout(`${JSON.stringify({ nonce, version: agentVersion(), summary })}\n`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** False where there is none, or it is too large. */
async function openCopy(
  dataDir: string,
  name: string,
  migrations: readonly string[],
  folder: string,
): Promise<boolean> {
  const source = join(dataDir, name);
  try {
    if ((await stat(source)).size > MAX_COPY_BYTES) return false;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
  const copy = join(folder, name);
  await copyFile(source, copy);
  // Written to meanwhile, a copy can be torn; that is no fault of this version, and such a copy is built anew.
  const onRebuilt = (_error: DatabaseError): void => undefined;
  openSqlite({ file: copy, pragmas: { synchronous: 'NORMAL' }, migrations, nowMs: () => 0, onRebuilt }).close();
  return true;
}
