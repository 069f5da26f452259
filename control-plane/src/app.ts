import { randomUUID } from 'node:crypto';
import type { RequestListener, Server } from 'node:http';
import { createServer } from 'node:https';
import type { FastifyPluginAsyncTypebox, TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { blobRoutes, type BlobStore } from './blobs/index.js';
import type { ServerCredentials } from './certificate-authority/index.js';
import { deviceDirectory, deviceRoutes, type DeviceRouteDependencies } from './devices/index.js';
import { governanceRoutes, tokens } from './governance/index.js';
import { installAuthentication } from './http/authentication.js';
import { installErrorHandler } from './http/error-handler.js';
import { installHeaders } from './http/headers.js';
import { PUBLIC, responses, type MetricsSource } from './http/index.js';
import { fleetMetrics, installMetrics, metricsRoute } from './http/metrics.js';
import { installOpenApi } from './http/openapi.js';
import { registryRoutes, releases } from './registry/index.js';
import { repositoryRoutes, type ReleaseRepository } from './release-repository/index.js';

export interface AppDependencies extends DeviceRouteDependencies {
  readonly blobs: BlobStore;
  readonly repository: ReleaseRepository;
  readonly log: FastifyBaseLogger;
  /** Present: HTTPS, with the certificates of devices. */
  readonly tls?: ServerCredentials | undefined;
  /** Routes of further domains, under /api/v1. Each route declares its access, or the app does not become ready. */
  readonly routes: readonly FastifyPluginAsyncTypebox[];
  readonly metrics: readonly MetricsSource[];
}

const API_PREFIX = '/api/v1';
/** Of bodies that are parsed in memory; single routes state their own, files are streamed. */
const BODY_LIMIT_BYTES = 256 * 1024;

/** The HTTP interface as one object that does not listen: `main` gives it a port, tests inject requests. */
export function createApp(dependencies: AppDependencies): FastifyInstance {
  const { db, blobs, log, now, version } = dependencies;
  const app = Fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    requestIdHeader: false,
    bodyLimit: BODY_LIMIT_BYTES,
    ...(dependencies.tls ? { serverFactory: secureServer(dependencies.tls) } : {}),
    routerOptions: { maxParamLength: 200 },
    // What was sent is what is checked: nothing is converted, dropped or filled in, and all findings are told at once.
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false, allErrors: true } },
  }).withTypeProvider<TypeBoxTypeProvider>();
  // Responses are typed at compile time; a schema-driven serializer would drop keys silently.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));

  const directory = deviceDirectory(db);
  installErrorHandler(app);
  installHeaders(app);
  installAuthentication(app, {
    holderOf: (token) => tokens(db).holderOf(token),
    authenticateDevice: (id, credential) => directory.authenticate(id, credential),
    holderOfCertificate: (certificate) => dependencies.certificates.holderOf(db, certificate, now()),
  });
  installOpenApi(app, version);
  const fleet = fleetMetrics({
    countDevices: () => directory.countByConnection(),
    countReleases: () => releases(db).count(),
  });
  const metrics = installMetrics(app, [fleet, ...dependencies.metrics]);

  void app.register((operations, _options, done) => {
    operations.get(
      '/healthz',
      { config: { access: PUBLIC }, schema: { tags: ['operations'], response: responses({ 200: HealthDocument }) } },
      async () => {
        await releases(db).count();
        return { status: 'ok' as const, version, time: now() };
      },
    );
    metricsRoute(operations, metrics);
    done();
  });
  for (const routes of [
    governanceRoutes({ db, now }),
    registryRoutes({ db }),
    repositoryRoutes({ db, repository: dependencies.repository, now }),
    blobRoutes({ blobs }),
    deviceRoutes(dependencies),
    ...dependencies.routes,
  ]) {
    void app.register(routes, { prefix: API_PREFIX });
  }
  return app;
}

/** As Fastify sets it for servers that it makes itself. */
const KEEP_ALIVE_MS = 72_000;

/** Browsers have no certificate of ours, and devices that are about to enrol have none yet: it is asked for, and each route judges it. */
const secureServer =
  (tls: ServerCredentials) =>
  (handler: RequestListener): Server => {
    const server = createServer({ ...tls.current(), requestCert: true, rejectUnauthorized: false }, handler);
    server.keepAliveTimeout = KEEP_ALIVE_MS;
    server.requestTimeout = 0;
    server.setTimeout(0);
    tls.onChange((credentials) => server.setSecureContext(credentials));
    return server;
  };

/** `time` lets `drover doctor` compare clocks. */
const HealthDocument = Type.Object({ status: Type.Literal('ok'), version: Type.String(), time: Type.Integer() });
