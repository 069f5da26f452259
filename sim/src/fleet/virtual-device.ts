import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentConfig } from '@drover/agent/config';
import type { Clock, HostProbe } from '@drover/agent/host';
import { enrol, loadIdentity, loadOrCreateDeviceKey } from '@drover/agent/identity';
import { createStoreRecorder, inlineTelemetry, openTelemetry } from '@drover/agent/monitor';
import { InlineServing, listenInference } from '@drover/agent/serve/inline';
import { jsonLog, startAgent, type AgentStatus } from '@drover/agent/supervisor';
import type { DeviceId } from '@drover/shared/ids';
import { Value } from 'typebox/value';

export interface VirtualDeviceOptions {
  readonly deviceId: DeviceId;
  readonly dataDir: string;
  readonly controlPlaneUrl: string;
  /** Undefined for a device that has enrolled before, and starts again. */
  readonly claimToken: string | undefined;
  /** The bytes of root.json. */
  readonly pinnedRoot: Uint8Array;
  readonly hardwareClass: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly telemetryIntervalMs: number;
  readonly clock: Clock;
  readonly host: HostProbe;
  /** Of the place where it stands. */
  readonly proxy?: AgentConfig['proxy'];
  readonly mirrors?: AgentConfig['mirrors'];
  /** In place of none. */
  readonly labels?: AgentConfig['labels'];
  /** Lines of the agent's log. */
  readonly onLog?: (line: string) => void;
}

/** One device of the fleet, wherever it runs. */
export interface Device {
  readonly id: DeviceId;
  readonly site: string;
  /** Base address of the Open Inference Protocol on it. */
  endpoint(): string;
  close(): Promise<void>;
}

export interface VirtualDevice extends Device {
  status(): AgentStatus;
}

/**
 * The real agent on a fake host: the same supervisor, updater, link, monitor and protocol as on a device, many in one process. What differs is
 * chosen here: models run inline instead of in a process of their own, telemetry.db is written inline, host and clock are handed in. Fine-tuning
 * is left to the agents that run as processes.
 */
export async function startVirtualDevice(options: VirtualDeviceOptions): Promise<VirtualDevice> {
  const { deviceId, dataDir, clock, host, hardwareClass } = options;
  await mkdir(dataDir, { recursive: true });
  const defaults = Value.Default(AgentConfig, { dataDir }) as AgentConfig;
  const config: AgentConfig = {
    ...defaults,
    telemetry: { intervalMs: options.telemetryIntervalMs, maxSamples: 5_000 },
    serve: { ...defaults.serve, providers: ['cpu'] },
    learn: { ...defaults.learn, adaptation: 'off' },
    proxy: options.proxy ?? defaults.proxy,
    mirrors: options.mirrors ?? defaults.mirrors,
    labels: options.labels ?? defaults.labels,
  };
  const agentVersion = SIMULATED_AGENT_VERSION;
  const { claimToken } = options;
  const identity =
    claimToken === undefined
      ? await loadIdentity(dataDir)
      : await enrol({
          controlPlaneUrl: options.controlPlaneUrl,
          claimToken,
          deviceId,
          hardwareClass,
          attributes: options.attributes,
          pinnedRoot: options.pinnedRoot,
          agentVersion,
          dataDir,
          clock,
          network: { proxy: config.proxy },
        });
  const early: unknown[] = [];
  let onIncident = (error: unknown): void => void early.push(error);
  const tell = (error: unknown): void => onIncident(error);
  const telemetry = inlineTelemetry(
    openTelemetry({
      file: join(dataDir, 'telemetry.db'),
      maxSamples: config.telemetry.maxSamples,
      nowMs: () => clock.now(),
      onRebuilt: tell,
    }),
  );
  const recorder = createStoreRecorder({ store: telemetry, onIncident: tell });
  const serving = new InlineServing({
    providers: config.serve.providers,
    hardwareClass,
    clock,
    recorder,
    labelDesk: telemetry,
    onIncident: tell,
  });
  const server = await listenInference({ host: '127.0.0.1', port: 0, models: serving, serverVersion: agentVersion });
  const agent = await startAgent({
    config,
    agentVersion,
    identity,
    deviceKey: await loadOrCreateDeviceKey(dataDir),
    serving,
    parameters: serving,
    trials: serving,
    telemetry,
    host,
    clock,
    log: jsonLog('info', options.onLog ?? (() => undefined)),
  });
  onIncident = (error) => agent.incident(error);
  for (const error of early) agent.incident(error);
  return {
    id: deviceId,
    site: options.attributes['site'] ?? '',
    endpoint: () => `http://127.0.0.1:${server.port}`,
    status: () => agent.status(),
    async close() {
      await server.close();
      await agent.close();
      await serving.close();
      await recorder.settled();
      await telemetry.close();
    },
  };
}

/** Told apart from real agents in the registry. */
const SIMULATED_AGENT_VERSION = '0.1.0';
