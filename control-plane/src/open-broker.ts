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
  /** Authorities or revocations have changed. */
  trustChanged(): Promise<void>;
  close(): Promise<void>;
}

const REFRESH_EVERY_MS = 3_600_000;

/** The broker within, or one beside, behind one port. @throws BrokerError PORT_IN_USE, BROKER_LISTEN_FAILED */
export async function openBroker(options: OpenBrokerOptions): Promise<OpenedBroker> {
  const { db, configuration, devices, authorities, certificates, tls, now, log, onSubscribed, onError } = options;
  const { mqtt, brokerUrl, brokerTrust, brokerServicePassword } = configuration;
  const onIncident = ({ peer, error }: { readonly peer: string; readonly error: unknown }): void =>
    log.warn({ peer, error: toCodedErrorJson(error) }, 'the broker refused something');
  const trustFiles: TrustFiles | undefined =
    brokerTrust === undefined
      ? undefined
      : await keepTrustFiles({ folder: brokerTrust, trust: () => trustOf(db, authorities, now()), onError });
  const trustChanged = (): Promise<void> => trustFiles?.write() ?? Promise.resolve();
  if (brokerUrl === undefined) {
    const embedded = await startBroker({
      host: mqtt.host,
      port: mqtt.port ?? (tls ? 8883 : 1883),
      tls,
      devices: { ...devices, holderOf: (certificate) => certificates.holderOf(db, certificate, now()) },
      servicePassword: brokerServicePassword,
      now,
      onIncident,
      onSubscribed,
    });
    return {
      broker: embedded,
      embedded,
      trustChanged,
      async close() {
        await embedded.close();
        await trustFiles?.close();
      },
    };
  }
  const account = await accountCredentials(authorities, SERVICE_USER, now);
  const refreshing = setInterval(() => void account.refresh().catch(onError), REFRESH_EVERY_MS);
  const broker = connectBroker({
    url: brokerUrl,
    credentials: () => account.current(),
    credentialsOf: (device) => account.of(device),
    devices,
    everybody: async () =>
      (await devices.find({ all: true })).filter(({ revoked }) => revoked === undefined).map(({ id }) => id),
    now,
    onIncident,
    onSubscribed,
  });
  return {
    broker,
    embedded: undefined,
    async trustChanged() {
      await account.refresh();
      await trustChanged();
    },
    async close() {
      clearInterval(refreshing);
      await broker.close();
      await trustFiles?.close();
    },
  };
}
