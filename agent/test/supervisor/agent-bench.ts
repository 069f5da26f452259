import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Aedes } from 'aedes';
import { connectAsync, type MqttClient } from 'mqtt';
import {
  openReport,
  ordersTopic,
  reportsTopic,
  type Deployment,
  type Report,
  type ReportKind,
} from '@drover/shared/protocol';
import { createKeyPair, publicKeyOf } from '@drover/shared/trust';
import { Value } from 'typebox/value';
import { AgentConfig } from '../../src/config/index.js';
import { systemClock, type Clock } from '../../src/host/index.js';
import { inlineTelemetry, openTelemetry, type TelemetryStore } from '../../src/monitor/index.js';
import { jsonLog, startAgent, type Agent, type AgentOptions } from '../../src/supervisor/index.js';
import { memoryServing, type MemoryServing } from '../update/fixtures/memory-serving.js';
import { credential, releaseServer, type ReleaseServer } from '../update/fixtures/release-server.js';
import {
  device,
  directorKey,
  hardwareClass,
  keySetOf,
  signed,
  unusedCertificate,
  type Published,
} from '../update/fixtures/releases.js';

export const deviceKey = createKeyPair('device');

/** A broker on TCP, and a client of the control plane that reads every report of the device, verified. */
export interface Broker {
  readonly url: string;
  readonly reports: Report[];
  order(order: Deployment): Promise<void>;
  close(): Promise<void>;
}

export async function openBroker(key = deviceKey, port = 0): Promise<Broker> {
  const aedes = await Aedes.createBroker();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => socket.destroy());
    aedes.handle(socket);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const url = `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client: MqttClient = await connectAsync(url, { protocolVersion: 4, clientId: 'control-plane' });
  const reports: Report[] = [];
  client.on('message', (_topic, payload) => {
    reports.push(openReport(payload, device, { threshold: 1, keys: [publicKeyOf(key)] }));
  });
  await client.subscribeAsync(reportsTopic(device), { qos: 1 });
  return {
    url,
    reports,
    async order(order) {
      await client.publishAsync(ordersTopic(device), signed(order), { qos: 1 });
    },
    async close() {
      await client.endAsync(true);
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      });
      await new Promise<void>((resolve) => aedes.close(() => resolve()));
    },
  };
}

/** One agent in this process: real databases, MQTT and HTTP; its serving, host and wall clock obey the test. */
export interface AgentBench {
  readonly dataDir: string;
  readonly server: ReleaseServer;
  readonly broker: Broker;
  readonly log: { event: string; level: string; [fact: string]: unknown }[];
  serving: MemoryServing;
  telemetry: TelemetryStore;
  agent: Agent;
  /** What the device's wall clock reads. */
  wallMs: number;
  diskFreeBytes: number;
  start(change?: Partial<AgentOptions>): Promise<void>;
  /** Sends an order once the agent listens for orders: the broker keeps none for a device that it never saw. */
  order(order: Deployment): Promise<void>;
  stop(): Promise<void>;
  of(kind: ReportKind): Report[];
  close(): Promise<void>;
}

export async function openAgentBench(...published: readonly Published[]): Promise<AgentBench> {
  const dataDir = await mkdtemp(join(tmpdir(), 'drover-agent-'));
  const server = await releaseServer(...published);
  const broker = await openBroker();
  const clock: Clock = { ...systemClock, now: () => bench.wallMs };
  const config = {
    ...(Value.Default(AgentConfig, { dataDir }) as AgentConfig),
    telemetry: { intervalMs: 200, maxSamples: 5_000 },
  };
  let isRunning = false;
  let linesBefore = 0;
  const bench = {
    dataDir,
    server,
    broker,
    log: [],
    wallMs: Date.UTC(2026, 0, 1),
    diskFreeBytes: 1024 ** 4,
    async order(order: Deployment) {
      await until(() => bench.log.slice(linesBefore).some(({ event }) => event === 'connected'));
      await broker.order(order);
    },
    async start(change: Partial<AgentOptions> = {}) {
      linesBefore = bench.log.length;
      bench.serving = memoryServing();
      bench.telemetry = inlineTelemetry(
        openTelemetry({
          file: join(dataDir, 'telemetry.db'),
          maxSamples: config.telemetry.maxSamples,
          nowMs: () => clock.now(),
          onRebuilt: () => undefined,
        }),
      );
      isRunning = true;
      bench.agent = await startAgent({
        config,
        agentVersion: '0.1.0',
        identity: {
          format: 'drover.identity/1',
          controlPlaneUrl: server.url,
          hardwareClass,
          attributes: { site: 'north' },
          pinnedRoot: Buffer.from(server.repository.pinnedRoot).toString('utf8'),
          serverTrust: 'authorities',
          grant: {
            protocol: 1,
            deviceId: device,
            credential,
            identity: unusedCertificate,
            director: keySetOf(directorKey),
            brokerUrl: broker.url,
            epoch: 1,
          },
        },
        deviceKey,
        serving: bench.serving,
        telemetry: bench.telemetry,
        host: {
          metrics: () => Promise.resolve({ memoryTotalMiB: 1_000 }),
          diskFreeBytes: () => Promise.resolve(bench.diskFreeBytes),
        },
        clock,
        log: jsonLog('info', (line) => void bench.log.push(JSON.parse(line) as AgentBench['log'][number])),
        ...change,
      });
    },
    async stop() {
      if (!isRunning) return;
      isRunning = false;
      await (bench.agent as Agent | undefined)?.close();
      await bench.telemetry.close();
    },
    of: (kind: ReportKind) => broker.reports.filter((report) => report.kind === kind),
    async close() {
      await bench.stop();
      await broker.close();
      await server.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  } as Omit<AgentBench, 'serving' | 'telemetry' | 'agent'> as AgentBench;
  return bench;
}

/** Polls what happens elsewhere; the test's own time-out is the bound. */
export async function until<Value>(
  read: () => Value | undefined | false | Promise<Value | undefined | false>,
): Promise<Value> {
  for (;;) {
    const value = await read();
    if (value !== undefined && value !== false) return value;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
