import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { DeviceId } from '@drover/shared/ids';
import { startProcess, type StartedProcess } from './child-process.js';
import type { Device } from './virtual-device.js';

export interface AgentProcessOptions {
  readonly deviceId: DeviceId;
  readonly site: string;
  readonly dataDir: string;
  readonly controlPlaneUrl: string;
  readonly claimToken: string;
  /** The bytes of root.json. */
  readonly pinnedRoot: Uint8Array;
  readonly telemetryIntervalMs: number;
}

/** What every agent that runs as a process can be made to do. */
interface StartedAgent {
  readonly pid: () => number;
  /** The last lines of its log. */
  readonly lastLines: () => string;
  /** SIGKILL to the supervisor; its inference (or observe) process ends because its parent is gone. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

/** An agent as it runs on a device: enrolled by its own command, supervisor and inference process as operating-system processes. */
export interface AgentProcess extends Device, StartedAgent {}

/** The same where applications run the models (docs/attach.md). */
export interface AttachedAgentProcess extends Omit<Device, 'endpoint'>, StartedAgent {
  /** Path of the socket that applications observe through. */
  observeSocket(): string;
}

const run = promisify(execFile);

/** How firmware-images/systemd/drover-agent.sh starts it, and why; a test keeps the two equal. */
export const AGENT_NODE_FLAGS = ['--max-semi-space-size=1', '--optimize-for-size'] as const;

export async function startAgentProcess(options: AgentProcessOptions): Promise<AgentProcess> {
  const { ready, ...agent } = await enrolAndStart<{ servingUrl: string }>(options, ['run']);
  return { ...agent, endpoint: () => ready().servingUrl };
}

/** @param attach of agent.json, as it stands there */
export async function startAttachedAgentProcess(
  options: AgentProcessOptions,
  attach: object,
): Promise<AttachedAgentProcess> {
  const config = `${options.dataDir}-agent.json`;
  await writeFile(config, JSON.stringify({ attach }));
  const { ready, ...agent } = await enrolAndStart<{ observeSocket: string }>(options, ['attach', '--config', config]);
  return { ...agent, observeSocket: () => ready().observeSocket };
}

interface EnrolledAgent<Ready> extends Omit<Device, 'endpoint'>, StartedAgent {
  /** What it said when it was ready, in this life. */
  readonly ready: () => Ready;
}

async function enrolAndStart<Ready>(
  options: AgentProcessOptions,
  command: readonly string[],
): Promise<EnrolledAgent<Ready>> {
  const { deviceId, site, dataDir } = options;
  const script = join(fileURLToPath(import.meta.resolve('@drover/agent/config')), '..', '..', 'bundled', 'main.js');
  const rootFile = `${dataDir}-root.json`;
  await writeFile(rootFile, options.pinnedRoot);
  const environment = {
    DROVER_AGENT_DATA_DIR: dataDir,
    DROVER_AGENT_DEVICE_ID: deviceId,
    DROVER_AGENT_ATTRIBUTES: `site=${site}`,
    DROVER_AGENT_SERVE_PORT: '0',
    DROVER_AGENT_TELEMETRY_INTERVAL_MS: String(options.telemetryIntervalMs),
  };
  await run(
    process.execPath,
    [script, 'enrol', '--control-plane', options.controlPlaneUrl, '--token', options.claimToken, '--root', rootFile],
    { env: { PATH: process.env['PATH'], ...environment } },
  );
  const launch = () =>
    startProcess<Ready>({
      name: `The agent ${deviceId}`,
      script,
      args: [...command, '--json-ready'],
      environment,
      nodeFlags: AGENT_NODE_FLAGS,
    });
  let child: StartedProcess<Ready> = await launch();
  return {
    id: deviceId,
    site,
    ready: () => child.ready,
    pid: () => child.pid,
    lastLines: () => child.lastLines(),
    kill: () => child.kill(),
    async start() {
      child = await launch();
    },
    close: () => child.stop(),
  };
}
