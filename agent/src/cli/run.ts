import { mkdir } from 'node:fs/promises';
import { agentVersion, type AgentConfig } from '../config/index.js';
import { createHostProbe, systemClock } from '../host/index.js';
import { loadIdentity, loadOrCreateDeviceKey } from '../identity/index.js';
import { createStoreRecorder, openTelemetryThread } from '../monitor/index.js';
import { ProcessServing } from '../serve/index.js';
import { startAgent, type Agent } from '../supervisor/agent.js';
import { AgentError } from '../supervisor/errors.js';
import { jsonLog } from '../supervisor/log.js';
import { openStatusSocket } from '../supervisor/status-socket.js';
import { serviceNotifier } from '../supervisor/systemd.js';
import type { Terminal } from './index.js';

/** The supervisor of a real device: inference, probe and trainer are processes, telemetry.db is on a thread. */
export async function run(config: AgentConfig, terminal: Terminal, announceReady: boolean): Promise<void> {
  const log = jsonLog(config.log.level, terminal.stderr);
  const notifier = serviceNotifier({
    environment: terminal.environment,
    onFailure: (message) => log.warn('systemd', { message }),
  });
  await mkdir(config.dataDir, { recursive: true }).catch((cause: unknown) => {
    throw new AgentError('AGENT_DATA_DIR_UNUSABLE', `The data folder cannot be made: ${(cause as Error).message}.`, {
      where: config.dataDir,
      remedy: 'Give the agent a folder that it may write (dataDir), or run it as its own user.',
      cause,
    });
  });
  const identity = await loadIdentity(config.dataDir);
  const deviceKey = await loadOrCreateDeviceKey(config.dataDir);
  const stopped = terminal.untilStopped();
  const closers: (() => Promise<void> | void)[] = [];
  let agent: Agent | undefined;
  const onIncident = (error: unknown): void => {
    if (agent) agent.incident(error);
    else log.warn('incident', { message: String(error) });
  };
  try {
    const socket = await openStatusSocket(config.dataDir, () => agent?.status() ?? { starting: true });
    closers.push(() => socket.close());
    const telemetry = await openTelemetryThread({
      file: `${config.dataDir}/telemetry.db`,
      maxSamples: config.telemetry.maxSamples,
      onIncident,
    });
    closers.push(() => telemetry.close());
    const recorder = createStoreRecorder({ store: telemetry, onIncident });
    const serving = await ProcessServing.open({
      host: config.serve.host,
      port: config.serve.port,
      providers: config.serve.providers,
      hardwareClass: identity.hardwareClass,
      serverVersion: agentVersion(),
      clock: systemClock,
      recorder,
      onIncident,
    });
    closers.push(() => serving.close());
    agent = await startAgent({
      config,
      agentVersion: agentVersion(),
      identity,
      deviceKey,
      serving,
      telemetry,
      host: createHostProbe({ diskPath: config.dataDir }),
      clock: systemClock,
      log,
    });
    closers.push(agent.close);
    const { host, port } = serving.address;
    log.info('ready', { serving: `http://${host}:${port}`, controlPlane: identity.controlPlaneUrl });
    notifier.ready(`serving on ${host}:${port}`);
    if (announceReady) terminal.stdout(`${JSON.stringify({ event: 'ready', servingUrl: `http://${host}:${port}` })}\n`);
    if (notifier.watchdogIntervalMs !== undefined) {
      const timer = setInterval(() => notifier.alive(), notifier.watchdogIntervalMs);
      closers.push(() => clearInterval(timer));
    }
    await stopped;
    notifier.stopping();
    log.info('stopping');
  } finally {
    for (const close of closers.reverse()) await close();
  }
}
