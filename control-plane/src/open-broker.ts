import type { FastifyBaseLogger } from 'fastify';
import { toCodedErrorJson } from '@drover/shared/coded-error';
import type { DeviceId } from '@drover/shared/ids';
import {
  connectBroker,
  keepTrustFiles,
  SERVICE_USER,
  startBroker,
  type BrokerPort,
  type EmbeddedBroker,
  type TrustFiles,
} from './broker/index.js';
import {
  accountCredentials,
  trustOf,
  type Authorities,
  type ServerCredentials,
} from './certificate-authority/index.js';
import type { ControlPlaneConfiguration } from './config.js';
import type { Db } from './database/index.js';
import type { DeviceCertificates, DeviceDirectory } from './devices/index.js';

export interface OpenBrokerOptions {
  readonly db: Db;
  readonly configuration: Pick<
    ControlPlaneConfiguration,
    'mqtt' | 'brokerUrl' | 'brokerTrust' | 'brokerServicePassword'
  >;
  readonly devices: DeviceDirectory;
  readonly authorities: Authorities;
  readonly certificates: DeviceCertificates;
  /** Present: the embedded broker speaks TLS. */
  readonly tls: ServerCredentials | undefined;
  readonly now: () => number;
  readonly log: Pick<FastifyBaseLogger, 'warn'>;
  readonly onSubscribed: (device: DeviceId) => Promise<void>;
  readonly onError: (error: unknown) => void;
}

export interface OpenedBroker {
  readonly broker: BrokerPort;
  /** Only where the broker is ours. */
  readonly embedded: EmbeddedBroker | undefined;
  /** Who may be listening now: what everybody has to know at once is sent to these. */
  listeners(): Promise<readonly DeviceId[]>;
  /** Authorities or revocations have changed. */
  trustChanged(): Promise<void>;
  close(): Promise<void>;
}

const REFRESH_EVERY_MS = 3_600_000;

/**
 * The broker within, or one beside, behind one port.
 *
 * @throws BrokerError PORT_IN_USE, BROKER_LISTEN_FAILED, BROKER_TRUST_UNWRITABLE
 */
export async function openBroker(options: OpenBrokerOptions): Promise<OpenedBroker> {
  const { db, configuration, authorities, now, onError } = options;
  const { brokerUrl, brokerTrust: folder } = configuration;
  const trustFiles: TrustFiles | undefined =
    folder === undefined
      ? undefined
      : await keepTrustFiles({ folder, trust: () => trustOf(db, authorities, now()), onError });
  try {
    const opened = await (brokerUrl === undefined ? within(options) : beside(options, brokerUrl));
    return {
      ...opened,
      async trustChanged() {
        try {
          await opened.trustChanged();
        } finally {
          await trustFiles?.write();
        }
      },
      async close() {
        try {
          await opened.close();
        } finally {
          await trustFiles?.close();
        }
      },
    };
  } catch (error) {
    await trustFiles?.close();
    throw error;
  }
}

async function within({
  db,
  configuration: { mqtt, brokerServicePassword },
  devices,
  certificates,
  tls,
  now,
  log,
  onSubscribed,
}: OpenBrokerOptions): Promise<OpenedBroker> {
  const embedded = await startBroker({
    host: mqtt.host,
    port: mqtt.port ?? (tls ? 8883 : 1883),
    tls,
    devices: { ...devices, holderOf: (certificate) => certificates.holderOf(db, certificate, now()) },
    servicePassword: brokerServicePassword,
    now,
    onIncident: incidentLog(log),
    onSubscribed,
  });
  return {
    broker: embedded,
    embedded,
    listeners: () => devices.connected(),
    trustChanged: () => Promise.resolve(),
    close: () => embedded.close(),
  };
}

async function beside(
  { authorities, devices, now, log, onSubscribed, onError }: OpenBrokerOptions,
  url: string,
): Promise<OpenedBroker> {
  // Presence is known only of who was heard since the last connection to that broker, and some that listen are silent for hours.
  const listeners = async (): Promise<DeviceId[]> =>
    (await devices.find({ all: true })).filter(({ revoked }) => revoked === undefined).map(({ id }) => id);
  const account = await accountCredentials(authorities, SERVICE_USER, now);
  const broker = connectBroker({
    url,
    credentials: () => account.current(),
    credentialsOf: (device) => account.of(device),
    devices,
    everybody: listeners,
    now,
    onIncident: incidentLog(log),
    onSubscribed,
  });
  const refreshing = setInterval(() => void account.refresh().catch(onError), REFRESH_EVERY_MS);
  return {
    broker,
    embedded: undefined,
    listeners,
    trustChanged: () => account.refresh(),
    async close() {
      clearInterval(refreshing);
      await broker.close();
    },
  };
}

const incidentLog =
  (log: OpenBrokerOptions['log']) =>
  ({ peer, error }: { readonly peer: string; readonly error: unknown }): void =>
    log.warn({ peer, error: toCodedErrorJson(error) }, 'the broker refused something');
