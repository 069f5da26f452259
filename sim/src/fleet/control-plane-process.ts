import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createChannel, type HttpFetch } from '@drover/agent/link';
import { startProcess } from './child-process.js';
import { operatorOf, type Operator } from './operator.js';

export interface ControlPlaneProcess {
  readonly httpUrl: string;
  readonly mqttUrl: string;
  readonly adminToken: string;
  /** Password of the broker's service account, for external tools. */
  readonly servicePassword: string;
  readonly dataDir: string;
  readonly operator: Operator;
  lastLines(): string;
  /** SIGKILL. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

export interface ControlPlaneOptions {
  readonly dataDir: string;
  /** 0 lets the system choose. */
  readonly httpPort: number;
  readonly mqttPort: number;
  /** Further arguments. */
  readonly args?: readonly string[];
  /** Further configuration, as variables. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** A control plane on embedded defaults, as a process of its own; the simulator knows it only by HTTP and MQTT. */
export async function startControlPlane({
  dataDir,
  httpPort,
  mqttPort,
  args = [],
  environment = {},
}: ControlPlaneOptions): Promise<ControlPlaneProcess> {
  const adminToken = randomBytes(24).toString('base64url');
  const servicePassword = randomBytes(24).toString('base64url');
  const workspace = fileURLToPath(import.meta.resolve('@drover/control-plane/package.json'));
  const child = await startProcess<{ httpUrl: string; mqttUrl: string }>({
    name: 'The control plane',
    script: join(workspace, '..', 'dist', 'main.js'),
    args: ['--json-ready', ...args],
    environment: {
      DROVER_DATA_DIR: dataDir,
      DROVER_HTTP_PORT: String(httpPort),
      DROVER_MQTT_PORT: String(mqttPort),
      DROVER_ADMIN_TOKEN: adminToken,
      DROVER_BROKER_SERVICE_PASSWORD: servicePassword,
      DROVER_LOG_LEVEL: 'warn',
      ...environment,
    },
  });
  return {
    ...child.ready,
    adminToken,
    servicePassword,
    dataDir,
    operator: operatorOf(child.ready.httpUrl, adminToken, believing(dataDir)),
    lastLines: () => child.lastLines(),
    kill: () => child.kill(),
    stop: () => child.stop(),
  };
}

/** A person who was given the authority's certificate, as `drover login --ca` wants it; without TLS nobody looks at it. */
const believing = (dataDir: string): HttpFetch =>
  createChannel({
    proxy: { exceptions: [] },
    trust: () => ({
      authorities: [],
      further: readFileSync(join(dataDir, 'certificate-authority', '1.crt'), 'utf8'),
      system: false,
    }),
    client: () => undefined,
    notBeforeMs: () => Date.now(),
  }).fetch;
