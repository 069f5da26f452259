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

/** An agent as it runs on a device: enrolled by its own command, supervisor and inference process as operating-system processes. */
export interface AgentProcess extends Device {
  readonly pid: () => number;
  /** SIGKILL to the supervisor; its inference process ends because its parent is gone. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

const run = promisify(execFile);

/** How firmware-images/systemd/drover-agent.sh starts it, and why; a test keeps the two equal. */
export const AGENT_NODE_FLAGS = ['--max-semi-space-size=1', '--optimize-for-size'] as const;

export async function startAgentProcess(options: AgentProcessOptions): Promise<AgentProcess> {
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
    startProcess<{ servingUrl: string }>({
      name: `The agent ${deviceId}`,
      script,
      args: ['run', '--json-ready'],
      environment,
      nodeFlags: AGENT_NODE_FLAGS,
    });
  let child: StartedProcess<{ servingUrl: string }> = await launch();
  return {
    id: deviceId,
    site,
    endpoint: () => child.ready.servingUrl,
    pid: () => child.pid,
    kill: () => child.kill(),
    async start() {
      child = await launch();
    },
    close: () => child.stop(),
  };
}
