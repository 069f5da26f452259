import { Type, type Static } from 'typebox';
import { readConfiguration } from '@drover/shared/configuration';

const strict = { additionalProperties: false } as const;
const port = (fallback: number) => Type.Integer({ minimum: 0, maximum: 65_535, default: fallback });
const GIBIBYTE = 1024 ** 3;

/** The whole configuration; `http.port` is `DROVER_HTTP_PORT` in the environment. docs/operations.md explains each key. */
export const ControlPlaneConfiguration = Type.Object(
  {
    /** Database, files of releases, the director's key and the online keys. Back it up as a whole. */
    dataDir: Type.String({ minLength: 1, default: 'drover-data' }),
    http: Type.Object(
      { host: Type.String({ minLength: 1, default: '127.0.0.1' }), port: port(7070) },
      { ...strict, default: {} },
    ),
    mqtt: Type.Object(
      {
        host: Type.String({ minLength: 1, default: '127.0.0.1' }),
        /** Without it 8883 where the broker speaks TLS, else 1883. */
        port: Type.Optional(Type.Integer({ minimum: 0, maximum: 65_535 })),
      },
      { ...strict, default: {} },
    ),
    tls: Type.Object(
      {
        /** `auto`: a listener on a loopback address speaks plainly, any other speaks TLS. */
        mode: Type.Enum(['auto', 'on', 'off'], { default: 'auto' }),
        /** Further names and addresses by which devices and people reach us, for the certificates that we issue to ourselves. */
        names: Type.Array(Type.String({ pattern: '^[A-Za-z0-9.:*_-]{1,253}$' }), { maxItems: 100, default: [] }),
        /** A server certificate of your own (PEM, the chain), and its key, instead of those. */
        certificate: Type.Optional(Type.String({ minLength: 1 })),
        key: Type.Optional(Type.String({ minLength: 1 })),
        /** Life of the certificates of devices; they renew them after two thirds of it. */
        deviceCertificateDays: Type.Integer({ minimum: 1, maximum: 3650, default: 90 }),
      },
      { ...strict, default: {} },
    ),
    /** Token of the first administrator. Without it one is made at the first start and shown once. */
    adminToken: Type.Optional(Type.String({ minLength: 16, maxLength: 500 })),
    /** Password of the MQTT user `service`. Without it nobody can log in as that user. */
    brokerServicePassword: Type.Optional(Type.String({ minLength: 16, maxLength: 500 })),
    /** A broker beside the control plane, instead of the one within it. */
    brokerUrl: Type.Optional(Type.String({ pattern: '^mqtts://[^/ ]+/?$', maxLength: 500 })),
    /** Folder where that broker finds whose clients to believe (`ca.crt`), and which of them no more (`revoked.crl`). */
    brokerTrust: Type.Optional(Type.String({ minLength: 1 })),
    /** What devices are told to connect to, where it is not the address that the broker listens on. */
    publicBrokerUrl: Type.Optional(Type.String({ pattern: '^(mqtts?|wss?)://', maxLength: 500 })),
    logLevel: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], { default: 'warn' }),
    /** Largest file of a release. */
    maxBlobBytes: Type.Integer({ minimum: 1024, default: 16 * GIBIBYTE }),
    /** Compressed chunks and deltas that are kept for devices, and how many are made at once. */
    packs: Type.Object(
      {
        maxCacheBytes: Type.Integer({ minimum: 0, default: 4 * GIBIBYTE }),
        maxComputing: Type.Integer({ minimum: 1, maximum: 64, default: 1 }),
      },
      { ...strict, default: {} },
    ),
  },
  strict,
);
export type ControlPlaneConfiguration = Static<typeof ControlPlaneConfiguration>;

/** Variables with the same prefix that other programs of Drover read. */
const FOREIGN = /^DROVER_(AGENT_|URL$|TOKEN$|KEY_PASSPHRASE$)/;

/** @throws ConfigurationError CONFIG_UNREADABLE, CONFIG_INVALID, naming all bad places at once */
export function readControlPlaneConfiguration(
  file: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): ControlPlaneConfiguration {
  const own = Object.fromEntries(Object.entries(environment).filter(([name]) => !FOREIGN.test(name)));
  return readConfiguration(ControlPlaneConfiguration, { file, environment: own, prefix: 'DROVER_' });
}
