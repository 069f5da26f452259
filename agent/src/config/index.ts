import { existsSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { Type, type Static } from 'typebox';
import { ConfigurationError, readConfiguration } from '@drover/shared/configuration';
import { DeviceId, NAME_PATTERN } from '@drover/shared/ids';
import { Provider } from '@drover/shared/manifest';
import { AttachedModel } from './attached-model.js';

export type { AttachedModel } from './attached-model.js';

const strict = { additionalProperties: false } as const;
const port = (value: number) => Type.Integer({ minimum: 0, maximum: 65_535, default: value });

/** Every key of agent.json; `DROVER_AGENT_SERVE_PORT` sets `serve.port`, and the environment wins over the file. */
export const AgentConfig = Type.Object(
  {
    /** Identity, journal, releases and telemetry live here; the only folder that the agent writes, but for the paths of attached models. */
    dataDir: Type.String({ minLength: 1, default: '/var/lib/drover' }),
    /** Chosen at enrolment; defaults to the host name made fit for a topic. */
    deviceId: Type.Optional(Type.String({ pattern: NAME_PATTERN })),
    hardwareClass: Type.String({ minLength: 1, maxLength: 64, default: 'generic' }),
    attributes: Type.Record(Type.String({ pattern: '^[A-Za-z0-9_.-]{1,64}$' }), Type.String({ maxLength: 200 }), {
      additionalProperties: false,
      default: {},
    }),
    serve: Type.Object(
      {
        host: Type.String({ minLength: 1, default: '127.0.0.1' }),
        port: port(8080),
        /** Largest request that is read, as it is before any compression. */
        maxBodyMiB: Type.Integer({ minimum: 1, maximum: 1_024, default: 64 }),
        /** Whether applications may have the agent read and write shared memory that they name. */
        sharedMemory: Type.Boolean({ default: false }),
        /** Path of a Unix socket beside the port; none unless given. */
        socket: Type.Optional(Type.String({ pattern: '^/', maxLength: 100 })),
        /** How long a request may wait for others that are run with it, while nothing else keeps it waiting. */
        maxBatchDelayMs: Type.Integer({ minimum: 0, maximum: 10_000, default: 0 }),
        /** Threads that speak the protocol, and run what is done at once; two unless given, where there are two cores. */
        protocolThreads: Type.Optional(Type.Integer({ minimum: 1, maximum: 8 })),
        /** Resident memory of the inference process above which another takes its place; half of the device's unless given. */
        maxResidentMiB: Type.Optional(Type.Integer({ minimum: 64, maximum: 16_777_216 })),
        /** Tried in this order; the first that a run proves is used. */
        providers: Type.Array(Provider, {
          minItems: 1,
          default: ['tensorrt', 'cuda', 'cpu'],
        }),
      },
      { ...strict, default: {} },
    ),
    /** For `drover-agent attach`. */
    attach: Type.Object(
      {
        /** Path of the Unix socket that applications observe through; `observe.sock` in the data folder unless given. */
        socket: Type.Optional(Type.String({ pattern: '^/', maxLength: 100 })),
        /** Observed inferences that are taken each second, from all applications together; what is beyond is not counted. */
        maxObservationsPerSecond: Type.Integer({ minimum: 1, maximum: 1_000_000, default: 2_000 }),
        models: Type.Record(Type.String({ pattern: NAME_PATTERN }), AttachedModel, {
          additionalProperties: false,
          default: {},
        }),
      },
      { ...strict, default: {} },
    ),
    telemetry: Type.Object(
      {
        intervalMs: Type.Integer({ minimum: 200, maximum: 86_400_000, default: 60_000 }),
        /** Samples kept per model, oldest dropped first. */
        maxSamples: Type.Integer({ minimum: 100, maximum: 10_000_000, default: 20_000 }),
      },
      { ...strict, default: {} },
    ),
    /** Requests for labels of served samples; none unless asked for. */
    labels: Type.Object(
      {
        /** In any 24 hours, over all models; 0 asks for none. */
        perDay: Type.Integer({ minimum: 0, maximum: 1_000, default: 0 }),
        /** That wait for an answer at once. */
        maxOpen: Type.Integer({ minimum: 1, maximum: 1_000, default: 50 }),
        /** So many times as many while a drift alarm stands. */
        driftFactor: Type.Integer({ minimum: 1, maximum: 20, default: 3 }),
        /** Drawn evenly from what is served; the others are those that the model is least sure of. */
        randomShare: Type.Number({ minimum: 0, maximum: 1, default: 0.5 }),
        expireAfterDays: Type.Integer({ minimum: 1, maximum: 365, default: 14 }),
        /** Whether the control plane is told the features of what is asked for, too. */
        sendFeatures: Type.Boolean({ default: false }),
      },
      { ...strict, default: {} },
    ),
    outbox: Type.Object(
      {
        maxReports: Type.Integer({ minimum: 100, maximum: 1_000_000, default: 20_000 }),
        maxBytes: Type.Integer({ minimum: 100_000, maximum: 10_000_000_000, default: 50_000_000 }),
      },
      { ...strict, default: {} },
    ),
    link: Type.Object(
      {
        /** Silence after which the device shows the broker that it is there, and looks whether the broker is. */
        keepaliveS: Type.Integer({ minimum: 10, maximum: 3_600, default: 60 }),
      },
      { ...strict, default: {} },
    ),
    download: Type.Object(
      {
        /** Hard cap over all downloads together; none when absent. */
        maxBytesPerSecond: Type.Optional(Type.Integer({ minimum: 1024, maximum: 100_000_000_000 })),
        /** A server that gives less over a minute is given up for now. */
        minBytesPerSecond: Type.Integer({ minimum: 0, maximum: 1_000_000_000, default: 1024 }),
        /** A mirror that gives less than this, counting from ten seconds of silence, is passed over for now. */
        mirrorMinBytesPerSecond: Type.Integer({ minimum: 1, maximum: 1_000_000_000, default: 16_384 }),
      },
      { ...strict, default: {} },
    ),
    /** Addresses of mirrors at the site, tried in this order before the control plane. */
    mirrors: Type.Array(Type.String({ pattern: '^https?://[^/ ?#@]+(/[^ ?#]*)?$', maxLength: 500 }), {
      maxItems: 8,
      uniqueItems: true,
      default: [],
    }),
    learn: Type.Object(
      {
        /** The stricter of this and the release's recipe holds. */
        adaptation: Type.Union([Type.Literal('off'), Type.Literal('propose'), Type.Literal('auto')], {
          default: 'auto',
        }),
        memoryMiB: Type.Integer({ minimum: 64, maximum: 65_536, default: 512 }),
      },
      { ...strict, default: {} },
    ),
    proxy: Type.Object(
      {
        /** Of an HTTP proxy that tunnels (CONNECT): http://[USER:PASSWORD@]HOST:PORT. Without it HTTPS_PROXY counts, for what speaks TLS. */
        url: Type.Optional(Type.String({ pattern: '^http://[^/ ]+/?$', maxLength: 500 })),
        /** Reached directly: a name stands for itself and everything below it. Without any NO_PROXY counts. */
        exceptions: Type.Array(Type.String({ minLength: 1, maxLength: 253 }), { maxItems: 200, default: [] }),
      },
      { ...strict, default: {} },
    ),
    tls: Type.Object(
      {
        /** A file with the certificates of further authorities that this device believes, in PEM. */
        ca: Type.Optional(Type.String({ minLength: 1 })),
      },
      { ...strict, default: {} },
    ),
    log: Type.Object(
      { level: Type.Enum(['debug', 'info', 'warn', 'error'], { default: 'info' }) },
      { ...strict, default: {} },
    ),
  },
  strict,
);
export type AgentConfig = Static<typeof AgentConfig>;

export const AGENT_ENV_PREFIX = 'DROVER_AGENT_';

/** @throws ConfigurationError */
export const readAgentConfig = (
  file: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): AgentConfig => {
  const config = readConfiguration(AgentConfig, { file, environment, prefix: AGENT_ENV_PREFIX });
  return { ...config, proxy: withCustomaryProxy(config.proxy, environment) };
};

/** What the configuration does not say is taken from the variables that other programs read too. */
function withCustomaryProxy(
  { url, exceptions }: AgentConfig['proxy'],
  environment: Readonly<Record<string, string | undefined>>,
): AgentConfig['proxy'] {
  const named = (name: string): string => environment[name] ?? environment[name.toLowerCase()] ?? '';
  const customary = named('HTTPS_PROXY');
  const proxy = url ?? (customary === '' ? undefined : customary.includes('://') ? customary : `http://${customary}`);
  const direct = exceptions.length > 0 ? exceptions : named('NO_PROXY').split(',');
  return {
    ...(proxy === undefined || !URL.canParse(proxy) ? {} : { url: proxy }),
    exceptions: direct.map((name) => name.trim()).filter((name) => name !== ''),
  };
}

/** Where the installer puts it; undefined on a machine where nothing was installed, which runs on defaults and environment. */
export function defaultConfigFile(): string | undefined {
  const file = '/etc/drover/agent.json';
  return existsSync(file) ? file : undefined;
}

/** The version of this code, as its package.json says. */
export function agentVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}

/**
 * The configured device id, else the host name made fit for a topic.
 *
 * @throws ConfigurationError CONFIG_INVALID when nothing of the host name is left
 */
export function deviceIdOf({ deviceId }: Pick<AgentConfig, 'deviceId'>, hostName = hostname()): DeviceId {
  if (deviceId !== undefined) return DeviceId(deviceId);
  const id = hostName
    .toLowerCase()
    .replace(/[^a-z0-9_-]+/g, '-')
    .replace(/^[-_]+/, '')
    .slice(0, 64)
    .replace(/[-_]+$/, '');
  if (id !== '') return DeviceId(id);
  throw new ConfigurationError(
    'CONFIG_INVALID',
    `The host name ${JSON.stringify(hostName)} cannot be made a device id, and none is configured.`,
    {
      where: 'deviceId',
      remedy: `Set deviceId in the configuration, or ${AGENT_ENV_PREFIX}DEVICE_ID in the environment.`,
    },
  );
}
