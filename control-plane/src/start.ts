import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyBaseLogger } from 'fastify';
import { toCodedErrorJson } from '@drover/shared/coded-error';
import { bulkSigner, publicKeyOf, type KeySet } from '@drover/shared/trust';
import { createApp } from './app.js';
import { openBlobDirectory } from './blobs/index.js';
import { bundleRoutes } from './bundles/index.js';
import { acceptWebSockets, brokerMetrics, WEBSOCKET_PATH } from './broker/index.js';
import {
  Authorities,
  authorityRoutes,
  operatorServerCredentials,
  ownServerCredentials,
  serverNames,
  type ServerCredentials,
} from './certificate-authority/index.js';
import type { ControlPlaneConfiguration } from './config.js';
import { openDatabase, type DatabaseError } from './database/index.js';
import { deviceCertificates, deviceDirectory, pruneCertificates } from './devices/index.js';
import { createDirector } from './director/index.js';
import { lockDataDirectory } from './data-directory-lock.js';
import { loadDirectorKey, replaceDirectorKey } from './director-key.js';
import { openPacks, packRoutes } from './packs/index.js';
import { ensureAdministrator } from './first-administrator.js';
import { audit } from './governance/index.js';
import { labelMetrics, labelRoutes, pruneLabels, startLabelDelivery } from './labels/index.js';
import { beginRecovery, isLostTime, openRecovery, recoveryRoutes } from './recovery/index.js';
import { openOnlineKeys, releaseRepository, repositoryMetrics, startKeeper } from './release-repository/index.js';
import { rolloutMetrics, rolloutRoutes, startEngine } from './rollouts/index.js';
import { createTrials, trialMetrics, trialRoutes } from './trials/index.js';
import { openBroker } from './open-broker.js';
import { StartError, toListenError } from './start-errors.js';
import { createIngest, deviceViews, fieldMetrics, telemetryMetrics, telemetryRoutes } from './telemetry/index.js';

export interface StartOptions {
  readonly configuration: ControlPlaneConfiguration;
  readonly version: string;
  readonly log: FastifyBaseLogger;
  /** Begin with an empty database if the present one is damaged; the damaged file is kept. */
  readonly rebuildDatabase: boolean;
  /** Make a new director key, because the old one was stolen or lost; devices take it after a recovery. */
  readonly newDirectorKey?: boolean;
  readonly now?: () => number;
}

export interface ControlPlane {
  readonly httpUrl: string;
  readonly mqttUrl: string;
  /** Certificate of the authority by which the API proves itself, where it is our own. */
  readonly caFile: string | undefined;
  /** Listeners that others than this machine may reach, and that speak no TLS; a person must see it. */
  readonly plainListeners: readonly string[];
  /** Token of the first administrator, only when it was made by this start. */
  readonly adminToken: string | undefined;
  /** What was lost and rebuilt; a person must see it. */
  readonly incidents: readonly DatabaseError[];
  /** Ends everything in reverse order; requests in progress are answered. Once. */
  close(): Promise<void>;
}

const PRUNE_EVERY_MS = 10 * 60_000;
const LOOK_AT_CERTIFICATES_EVERY_MS = 60 * 60_000;
/** A WebSocket message holds part of an MQTT packet at most as large as the broker takes. */
const MAX_WEBSOCKET_MESSAGE_BYTES = 4 * 1024 * 1024;
const DAY_MS = 86_400_000;

/**
 * Starts every part in the order of dependence. If one of them fails, those before it are closed again.
 *
 * @throws StartError, DatabaseError, BlobError, BrokerError, TrustError
 */
export async function startControlPlane(options: StartOptions): Promise<ControlPlane> {
  const opened: (() => Promise<void>)[] = [];
  let closing: Promise<void> | undefined;
  const closeAll = async (): Promise<void> => {
    for (let close = opened.pop(); close; close = opened.pop()) await close();
  };
  try {
    const parts = await open(options, opened);
    return { ...parts, close: () => (closing ??= closeAll()) };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

async function open(
  { configuration, version, log, rebuildDatabase, newDirectorKey = false, now = Date.now }: StartOptions,
  opened: (() => Promise<void>)[],
): Promise<Omit<ControlPlane, 'close'>> {
  const { dataDir, http, mqtt, maxBlobBytes } = configuration;
  const reportError = (error: unknown) =>
    log.error({ error: toCodedErrorJson(error), err: error }, 'something failed in the background');
  const incidents: DatabaseError[] = [];

  makeDataDirectory(dataDir);
  opened.push(lockDataDirectory(dataDir));
  const db = await openDatabase({
    file: join(dataDir, 'control-plane.sqlite'),
    rebuild: rebuildDatabase,
    onIncident: (incident) => incidents.push(incident),
    now,
  });
  opened.push(() => db.destroy());
  for (const incident of incidents) {
    await audit(db).append({
      actor: 'control-plane',
      action: 'database.rebuild',
      subject: 'database',
      detail: { ...incident.toJSON() },
      at: now(),
    });
    await beginRecovery(db, {
      reason: 'The database was damaged and begun anew',
      begunAt: now(),
      lostFrom: 0,
    });
  }
  const blobs = await openBlobDirectory({ directory: join(dataDir, 'blobs'), maxBytes: maxBlobBytes });
  const packs = await openPacks({
    ...configuration.packs,
    blobs,
    folder: join(dataDir, 'packs'),
    onError: reportError,
  });
  opened.push(() => packs.close());
  const devices = deviceDirectory(db);
  await devices.forgetConnections();
  const { connected, disconnected } = await devices.countByConnection();
  const directorFile = join(dataDir, 'director.key');
  // The order matters: with the recovery on record first, a crash between the two leaves a control plane that waits, and not one that is ignored.
  if (newDirectorKey) await beginRecovery(db, { reason: "The director's key was replaced", begunAt: now() });
  const directorKey = newDirectorKey
    ? replaceDirectorKey(directorFile, now())
    : loadDirectorKey(directorFile, connected + disconnected);
  const directorKeys: KeySet = { threshold: 1, keys: [publicKeyOf(directorKey)] };
  const repository = releaseRepository({
    db,
    files: blobs,
    keys: openOnlineKeys(join(dataDir, 'online-keys')),
    now,
  });
  const keeper = await startKeeper({
    db,
    repository,
    now,
    onProblem: (problem) => log.warn({ error: problem }, 'a role of the release repository needs to be signed anew'),
    onError: reportError,
  });
  opened.push(() => keeper.close());
  const recovery = await openRecovery({
    db,
    rootKeys: () => repository.rootKeys(),
    director: directorKeys,
    now,
  });
  const adminToken = await ensureAdministrator(db, configuration.adminToken, now());

  const authorities = await Authorities.open(join(dataDir, 'certificate-authority'), now);
  const certificates = deviceCertificates(authorities, configuration.tls.deviceCertificateDays * DAY_MS);
  const isEncrypted = {
    http: speaksTls(configuration, http.host),
    mqtt: configuration.brokerUrl !== undefined || speaksTls(configuration, mqtt.host),
  };
  const isServerOverTls = isEncrypted.http || (isEncrypted.mqtt && configuration.brokerUrl === undefined);
  const credentials = isServerOverTls ? await serverCredentials(configuration, authorities, now) : undefined;
  if (credentials) opened.push(refreshing(credentials, reportError));

  const opening = await openBroker({
    db,
    configuration,
    devices,
    authorities,
    certificates,
    tls: isEncrypted.mqtt ? credentials : undefined,
    now,
    log,
    // Devices cannot subscribe before they connect, and by then the director below exists.
    onSubscribed: async (device) => {
      await director.welcome(device);
      await labelDelivery.welcome(device);
    },
    onError: reportError,
  });
  opened.push(() => opening.close());
  const { broker, embedded } = opening;
  const director = createDirector({ db, signer: bulkSigner(directorKey), publisher: broker, now, recovery });
  const labelDelivery = startLabelDelivery({ db, director, now, onError: reportError });
  opened.push(() => labelDelivery.close());
  const engine = startEngine({ db, director, recovery, now, onError: reportError });
  opened.push(() => engine.close());
  const ingest = createIngest({
    db,
    devices,
    now,
    onReport: async (report) => {
      await devices.touch(report.deviceId, { lastSeenAt: now() });
      if (report.kind === 'state') await director.settle(report.deviceId);
      engine.nudge();
    },
    onListenerError: reportError,
  });
  broker.onReports(async (topic, payload) => {
    await ingest.receive(topic, payload);
  });
  const prune = async (): Promise<void> => {
    await ingest.prune();
    await pruneCertificates(db, now());
    await pruneLabels(db, now());
  };
  const pruning = setInterval(() => void prune().catch(reportError), PRUNE_EVERY_MS);
  opened.push(() => {
    clearInterval(pruning);
    return Promise.resolve();
  });

  const app = createApp({
    db,
    blobs,
    repository,
    log,
    version,
    now,
    tls: isEncrypted.http ? credentials : undefined,
    certificates,
    history: { isLostTime: (time) => isLostTime(db, time) },
    onRevoked: async (device) => {
      // The list first: a device whose connection ends comes back at once. But it ends whatever becomes of the list.
      try {
        await opening.trustChanged();
      } finally {
        broker.disconnect(device);
      }
    },
    enrolment: {
      director: directorKeys,
      brokerUrl: (reachedAs) =>
        configuration.publicBrokerUrl ?? (embedded ? brokerUrlFor(broker.url, mqtt.host, reachedAs) : broker.url),
      epoch: () => recovery.epoch(),
      offersCredential: !isEncrypted.http || !isEncrypted.mqtt,
      websocketPath: embedded && WEBSOCKET_PATH,
      pin: () =>
        isEncrypted.http && configuration.tls.certificate === undefined ? authorities.current().pin : undefined,
    },
    reported: deviceViews(db),
    routes: [
      packRoutes({ packs }),
      rolloutRoutes({ db, engine }),
      trialRoutes({ db, now, trials: createTrials({ db, director, now, onError: reportError }) }),
      bundleRoutes({ db, director, recovery }),
      telemetryRoutes({ db }),
      labelRoutes({ db, now, delivery: labelDelivery, onError: reportError }),
      authorityRoutes({
        db,
        authorities,
        now,
        onChanged: async () => {
          try {
            await credentials?.refresh();
          } finally {
            await opening.trustChanged().finally(() => {
              // Each device that connects anew asks for the authorities in force.
              broker.disconnect('all');
            });
          }
        },
      }),
      recoveryRoutes({
        recovery,
        onInstalled: async () => {
          for (const device of await opening.listeners()) await director.welcome(device);
        },
      }),
    ],
    metrics: [
      rolloutMetrics(db),
      trialMetrics(db, now),
      telemetryMetrics(db),
      fieldMetrics(db, now),
      labelMetrics(db, now),
      repositoryMetrics(db, now),
      brokerMetrics(broker),
    ],
  });
  opened.push(() => app.close());
  const address = `${http.host}:${http.port}`;
  const listening = await app.listen(http).catch((error: unknown) => {
    throw toListenError(error, address);
  });
  // Fastify does not look into a server that it did not make.
  const httpUrl = isEncrypted.http ? listening.replace(/^http:/, 'https:') : listening;
  if (embedded) {
    const webSockets = acceptWebSockets({
      server: app.server,
      maxMessageBytes: MAX_WEBSOCKET_MESSAGE_BYTES,
      accept: (stream, socket) => embedded.accept(stream, socket),
    });
    opened.push(() => {
      webSockets.close();
      return Promise.resolve();
    });
  }
  const caFile =
    isEncrypted.http && configuration.tls.certificate === undefined
      ? join(dataDir, 'certificate-authority', `${authorities.current().number}.crt`)
      : undefined;
  const plainListeners = [
    ...(isEncrypted.http || isLoopback(http.host) ? [] : [httpUrl]),
    ...(isEncrypted.mqtt || isLoopback(mqtt.host) ? [] : [broker.url]),
  ];
  return { httpUrl, mqttUrl: broker.url, plainListeners, caFile, adminToken, incidents };
}

/** Addresses that nobody but this machine can reach (RFC 1122, section 3.2.1.3; RFC 4291, section 2.5.3). */
const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || host.startsWith('127.');

/** Plain where only this machine can listen in, unless told otherwise; TLS everywhere else (docs/protocol.md, section 1). */
const speaksTls = ({ tls }: ControlPlaneConfiguration, host: string): boolean =>
  tls.mode === 'on' || (tls.mode === 'auto' && !isLoopback(host));

async function serverCredentials(
  { tls, http, mqtt, publicBrokerUrl }: ControlPlaneConfiguration,
  authorities: Authorities,
  now: () => number,
): Promise<ServerCredentials> {
  const { certificate, key } = tls;
  if (certificate !== undefined || key !== undefined)
    return operatorServerCredentials(authorities, { certificate: certificate ?? '', key: key ?? '' });
  const told = publicBrokerUrl === undefined ? [] : [new URL(publicBrokerUrl).hostname.replace(/^\[|\]$/g, '')];
  return ownServerCredentials(authorities, serverNames([http.host, mqtt.host], [...tls.names, ...told]), now);
}

function refreshing(credentials: ServerCredentials, onError: (error: unknown) => void): () => Promise<void> {
  const timer = setInterval(() => void credentials.refresh().catch(onError), LOOK_AT_CERTIFICATES_EVERY_MS);
  return () => {
    clearInterval(timer);
    return Promise.resolve();
  };
}

const WILDCARDS = new Set(['0.0.0.0', '::']);

/** A broker that listens on all addresses has none of its own to tell: the name that the device found us by is the best one. */
const brokerUrlFor = (url: string, host: string, reachedAs: string): string =>
  WILDCARDS.has(host) ? `${url.slice(0, url.indexOf(':'))}://${reachedAs}:${url.slice(url.lastIndexOf(':') + 1)}` : url;

function makeDataDirectory(dataDir: string): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new StartError(
      'DATA_DIR_UNAVAILABLE',
      `The data directory cannot be made: ${cause instanceof Error ? cause.message : String(cause)}.`,
      {
        where: dataDir,
        remedy:
          'Choose another with "dataDir" or DROVER_DATA_DIR, or give its parent to the user of the control plane.',
        cause,
      },
    );
  }
}
