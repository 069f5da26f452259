import { mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { toCodedErrorJson } from '@drover/shared/coded-error';
import { writeDurably } from '../host/index.js';
import {
  identityChannel,
  loadDeviceKey,
  loadIdentity,
  networkOf,
  verifyPinnedRoot,
  type Identity,
} from '../identity/index.js';
import type { Channel } from '../link/index.js';
import { BUILD_FLOOR_MS } from '../host/index.js';
import type { AgentConfig } from '../config/index.js';
import type { AgentStatus } from '../supervisor/agent.js';
import { readStatus } from '../supervisor/status-socket.js';
import { observeSocketOf, SEARCH_PATH } from './open-serving.js';
import { provenProvider } from './proven-provider.js';
import type { Terminal } from './terminal.js';

interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** What was found, and for a failed check what to do. */
  readonly detail: string;
  /** Of a failed check that has one in docs/errors.md. */
  readonly code?: string;
}

const MIN_FREE_MIB = 200;
const MAX_SKEW_MS = 60_000;
const NETWORK_TIMEOUT_MS = 5_000;

/** @returns the exit status: 0 when every check holds */
export async function examine(config: AgentConfig, asJson: boolean, terminal: Terminal): Promise<number> {
  const identity = await loadIdentity(config.dataDir).catch((error: unknown) => toCodedErrorJson(error));
  const enrolled = 'grant' in identity ? identity : undefined;
  const checks: Check[] = [
    checkNode(),
    await checkDataDir(config),
    await checkDisk(config),
    checkClock(),
    enrolled
      ? ok(
          'identity',
          `enrolled as ${enrolled.grant.deviceId}, root version ${verifyPinnedRoot(Buffer.from(enrolled.pinnedRoot)).version} pinned`,
        )
      : failed('identity', 'what' in identity ? `${identity.what} ${identity.remedy}` : ''),
    ...(enrolled ? await checkLinks(enrolled, config) : []),
    await checkAgent(config),
    ...(enrolled ? [await checkRepository(config)] : []),
    await checkProvider(config),
    ...(await checkAttached(config, terminal)),
    checkSystemd(),
  ];
  if (asJson) terminal.stdout(`${JSON.stringify({ ok: checks.every((check) => check.ok), checks })}\n`);
  else
    for (const check of checks)
      terminal.stdout(`${check.ok ? 'OK   ' : 'FAIL '} ${check.name.padEnd(14)} ${check.detail}\n`);
  return checks.every((check) => check.ok) ? 0 : 1;
}

const ok = (name: string, detail: string): Check => ({ name, ok: true, detail });
const failed = (name: string, detail: string): Check => ({ name, ok: false, detail });

function checkNode(): Check {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const fits = major > 20 || (major === 20 && minor >= 19);
  return fits
    ? ok('node', process.version)
    : failed('node', `${process.version} is too old. Install Node 20.19 or later, 22 or 24.`);
}

async function checkDataDir({ dataDir }: AgentConfig): Promise<Check> {
  const probe = join(dataDir, '.doctor');
  try {
    await writeDurably(probe, 'x');
    await rm(probe);
    return ok('data folder', `${dataDir} can be written`);
  } catch (error) {
    return failed(
      'data folder',
      `${dataDir} cannot be written: ${(error as Error).message}. Run this as the user of the agent, or set dataDir.`,
    );
  }
}

async function checkDisk({ dataDir }: AgentConfig): Promise<Check> {
  try {
    const { bavail, bsize } = await statfs(dataDir);
    const freeMiB = Math.floor((bavail * bsize) / 2 ** 20);
    if (freeMiB >= MIN_FREE_MIB) return ok('disk', `${freeMiB} MiB free`);
    return failed('disk', `${freeMiB} MiB free, fewer than ${MIN_FREE_MIB}. Make room on the disk of ${dataDir}.`);
  } catch (error) {
    return failed('disk', `The disk of ${dataDir} cannot be measured: ${(error as Error).message}.`);
  }
}

function checkClock(): Check {
  if (Date.now() > BUILD_FLOOR_MS) return ok('clock', new Date().toISOString());
  return failed(
    'clock',
    `It is ${new Date().toISOString()} here. Updates work, but orders expire by the last time that was seen; set the clock (timedatectl).`,
  );
}

async function checkLinks(identity: Identity, config: AgentConfig): Promise<Check[]> {
  try {
    const channel = identityChannel({
      network: networkOf(config),
      identity: () => identity,
      deviceKey: await loadDeviceKey(config.dataDir),
      notBeforeMs: () => Math.max(Date.now(), BUILD_FLOOR_MS),
    });
    const checks = [await checkControlPlane(identity, channel), await checkBroker(identity, channel)];
    for (const url of config.mirrors) checks.push(await checkMirror(url, channel));
    channel.reset();
    return checks;
  } catch (error) {
    const { what, remedy } = toCodedErrorJson(error);
    return [failed('control plane', `${what} ${remedy}`)];
  }
}

async function checkControlPlane({ controlPlaneUrl }: Identity, channel: Channel): Promise<Check> {
  try {
    const response = await channel.fetch(`${controlPlaneUrl}/healthz`, {
      signal: AbortSignal.timeout(NETWORK_TIMEOUT_MS),
    });
    const skewMs = Math.abs(Date.now() - Date.parse(response.headers.get('date') ?? ''));
    if (!response.ok)
      return failed(
        'control plane',
        `${controlPlaneUrl} answered ${response.status}. See the log of the control plane.`,
      );
    if (skewMs > MAX_SKEW_MS) {
      return failed(
        'control plane',
        `Its clock and this one differ by ${Math.round(skewMs / 1000)} s. Set the clock of whichever is wrong.`,
      );
    }
    return ok('control plane', `${controlPlaneUrl} answers`);
  } catch (error) {
    return failed(
      'control plane',
      `${controlPlaneUrl} cannot be reached (${reasonOf(error)}). Check the network, the proxy and the address.`,
    );
  }
}

/** Not having one costs time and bandwidth, and nothing else; but who set it up wants to know. */
async function checkMirror(url: string, channel: Channel): Promise<Check> {
  try {
    const response = await channel.fetch(`${url.replace(/\/+$/, '')}/api/v1/device/metadata/timestamp.json`, {
      signal: AbortSignal.timeout(NETWORK_TIMEOUT_MS),
    });
    if (response.ok) return ok('mirror', `${url} answers`);
    return failed('mirror', `${url} answered ${response.status}. See its log, and docs/operations.md.`);
  } catch (error) {
    return failed(
      'mirror',
      `${url} cannot be reached (${reasonOf(error)}). Check the mirror, or take it out of "mirrors".`,
    );
  }
}

/** Node's `fetch` says only "fetch failed"; the reason is its cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message !== '' ? error.cause.message : error.message;
}

async function checkBroker({ grant }: Identity, channel: Channel): Promise<Check> {
  const url = URL.canParse(grant.brokerUrl) ? new URL(grant.brokerUrl) : undefined;
  if (!url) return failed('broker', `${grant.brokerUrl} is no address. Enrol this device again.`);
  try {
    const socket = await channel.open(url, AbortSignal.timeout(NETWORK_TIMEOUT_MS));
    socket.destroy();
    return ok('broker', `${grant.brokerUrl} takes connections`);
  } catch (error) {
    const why = `${grant.brokerUrl} cannot be reached (${reasonOf(error)}).`;
    const instead =
      grant.websocketPath === undefined ? '' : ' The agent also tries the WebSocket of the control plane.';
    return failed('broker', `${why} Check the network and firewalls.${instead}`);
  }
}

async function checkAgent({ dataDir }: AgentConfig): Promise<Check> {
  try {
    const status = (await readStatus(dataDir)) as { connected?: boolean };
    if (status.connected === undefined) return ok('agent', 'is starting or stopping');
    return ok('agent', status.connected ? 'runs and is connected' : 'runs, not connected now');
  } catch (error) {
    const { what, remedy } = toCodedErrorJson(error);
    return failed('agent', `${what} ${remedy}`);
  }
}

/** Stale is no fault of the device, and it serves on; but nobody should have to find out by a release that does not arrive. */
async function checkRepository({ dataDir }: AgentConfig): Promise<Check> {
  const name = 'repository';
  const status = await readStatus(dataDir).catch(() => undefined);
  const repository = (status as Partial<AgentStatus> | undefined)?.repository;
  if (!repository) return ok(name, 'is known once the agent runs');
  const { rootVersion, rootExpiresAt, freshUntil, stale } = repository;
  if (stale && freshUntil !== undefined) return failed(name, `STALE: ${stale.what} ${stale.remedy}`);
  return ok(
    name,
    `root version ${rootVersion} until ${rootExpiresAt}, ${freshUntil === undefined ? 'not asked yet' : `fresh until ${freshUntil}`}`,
  );
}

/** The only proof of a provider is a run: a model of a few weights, made here, through a real session. */
async function checkProvider(config: AgentConfig): Promise<Check> {
  let folder: string | undefined;
  try {
    const made = (folder = await mkdtemp(join(tmpdir(), 'drover-doctor-')));
    const { actual, reason } = await provenProvider(made, config.serve.providers, (file, bytes) =>
      writeFile(join(made, file), bytes),
    );
    return ok(
      'provider',
      reason === undefined
        ? `${actual}, proven by a run`
        : `${actual}, proven by a run; not the first choice because ${reason}`,
    );
  } catch (error) {
    const { what, remedy } = toCodedErrorJson(error);
    return failed('provider', `${what} ${remedy}`);
  } finally {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }
}

/** Where applications run models themselves: all that has to be there for it. */
async function checkAttached(config: AgentConfig, { environment }: Terminal): Promise<Check[]> {
  const { models } = config.attach;
  if (Object.keys(models).length === 0) return [];
  const { examineAttached } = await import('../attach/examination/index.js');
  const isAgentRunning = await readStatus(config.dataDir).then(
    () => true,
    () => false,
  );
  const searchPath = environment['PATH'] ?? SEARCH_PATH;
  const examined = await examineAttached({ models, socket: observeSocketOf(config), searchPath, isAgentRunning });
  return examined.map(({ name, found }) => {
    if (typeof found === 'string') return ok(name, found);
    return { ...failed(name, `${found.code}: ${found.what} ${found.remedy}`), code: found.code };
  });
}

function checkSystemd(): Check {
  const found = spawnSync('systemd-notify', ['--version'], { stdio: 'ignore' }).status === 0;
  return found
    ? ok('systemd', 'systemd-notify is there, so the watchdog can work')
    : failed(
        'systemd',
        'systemd-notify is not there; as a service the agent would never count as started. Install systemd, or run it by hand.',
      );
}
