import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { seededRandom } from '@drover/shared/statistics';
import { startProcess, type StartedProcess } from '../../fleet/child-process.js';
import { operatorOf, type Operator } from '../../fleet/operator.js';

export interface ControlPlaneTally {
  kills: number;
  readonly points: Set<string>;
  /** Commands that were acknowledged and are gone. */
  lost: number;
  /** Commands that are there more often than they were given. */
  repeated: number;
  /** Lives that did not start, or whose audit log is broken. */
  broken: number;
}

export interface ControlPlaneOptions {
  readonly kills: number;
  readonly seed: number;
  readonly signal: AbortSignal;
  readonly onKill: (tally: ControlPlaneTally) => void;
  readonly onViolation: (what: string) => void;
}

/** Writes from the start of the process to the end of its commands. */
const WRITES_PER_LIFE = 260;
const COMMANDS_PER_LIFE = 12;
const WORKSPACE = join(fileURLToPath(import.meta.resolve('@drover/control-plane/package.json')), '..');
const PRELOAD = join(
  fileURLToPath(import.meta.resolve('@drover/sim/package.json')),
  '..',
  'dist/chaos/control-plane/preload.js',
);

type Ready = StartedProcess<{ httpUrl: string }>;

/**
 * Kills control planes at their nth write while commands arrive, and looks in the next life for what was acknowledged. The commands stand for the two
 * ways in which it keeps things: API tokens (a transaction with its audit entry) and blobs (files).
 */
export async function killControlPlanes(options: ControlPlaneOptions): Promise<ControlPlaneTally> {
  const { kills, seed, signal, onKill, onViolation } = options;
  const random = seededRandom(seed).fork('control plane');
  const root = await mkdtemp(join(tmpdir(), 'drover-chaos-'));
  const tally: ControlPlaneTally = { kills: 0, points: new Set(), lost: 0, repeated: 0, broken: 0 };
  const adminToken = randomBytes(24).toString('base64url');
  const acknowledged = { tokens: new Set<string>(), blobs: new Set<string>() };
  const given = new Set<string>();
  let names = 0;

  const start = (occurrence: number): Promise<Ready> =>
    startProcess<{ httpUrl: string }>({
      name: 'The control plane',
      script: join(WORKSPACE, 'dist', 'main.js'),
      args: ['--json-ready'],
      nodeFlags: ['--import', PRELOAD],
      environment: {
        CHAOS_KILL: `${WORKSPACE}|${occurrence}`,
        DROVER_DATA_DIR: join(root, 'data'),
        DROVER_HTTP_PORT: '0',
        DROVER_MQTT_PORT: '0',
        DROVER_ADMIN_TOKEN: adminToken,
        DROVER_LOG_LEVEL: 'warn',
      },
    });

  async function check(operator: Operator): Promise<void> {
    const { items } = await operator.get<{ items: { name: string }[] }>('/api/v1/tokens');
    const found = items.map(({ name }) => name);
    for (const name of acknowledged.tokens) {
      if (found.includes(name)) continue;
      tally.lost += 1;
      onViolation(`the token ${name} was acknowledged and is gone`);
    }
    for (const name of given) {
      if (found.filter((each) => each === name).length <= 1) continue;
      tally.repeated += 1;
      onViolation(`the token ${name} is there more than once`);
    }
    for (const hex of acknowledged.blobs) {
      const response = await fetch(`${operator.url}/api/v1/blobs/${hex}`, {
        method: 'HEAD',
        headers: { authorization: `Bearer ${adminToken}` },
      });
      if (response.ok) continue;
      tally.lost += 1;
      onViolation(`the blob ${hex} was acknowledged; now the answer is ${response.status}`);
    }
    const { intact } = await operator.get<{ intact: boolean }>('/api/v1/audit/verification');
    if (intact) return;
    tally.broken += 1;
    onViolation('the chain of the audit log is broken');
  }

  /** Until the process is killed, or has taken all of them. */
  async function command(operator: Operator): Promise<void> {
    for (let each = 0; each < COMMANDS_PER_LIFE; each += 1) {
      const name = `trial ${(names += 1)}`;
      given.add(name);
      await operator.send('POST', '/api/v1/tokens', { name, role: 'viewer' });
      acknowledged.tokens.add(name);
      const bytes = Buffer.from(`blob ${names} `.repeat(2_000));
      const hex = createHash('sha256').update(bytes).digest('hex');
      await operator.putBlob(hex, bytes);
      acknowledged.blobs.add(hex);
    }
  }

  try {
    while (tally.kills < kills && !signal.aborted) {
      let child: Ready | undefined;
      let log = '';
      try {
        child = await start(1 + random.nextInt(WRITES_PER_LIFE));
        const operator = operatorOf(child.ready.httpUrl, adminToken);
        await check(operator);
        await command(operator);
      } catch (error) {
        // A killed process breaks the connection, or never becomes ready; anything else is no kill and is thrown below.
        log = `${child?.lastLines() ?? ''}\n${error instanceof Error ? error.message : String(error)}`;
      }
      await child?.kill();
      const point = /\{"killed":"(.*?)"\}/.exec(`${log}\n${child?.lastLines() ?? ''}`)?.[1];
      if (point !== undefined) {
        tally.kills += 1;
        tally.points.add(point);
      } else if (log !== '') {
        tally.broken += 1;
        onViolation(`a life failed without being killed: ${log}`);
        break;
      }
      onKill(tally);
    }
    if (signal.aborted) return tally;
    const last = await start(0);
    await check(operatorOf(last.ready.httpUrl, adminToken));
    await last.stop();
    return tally;
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}
