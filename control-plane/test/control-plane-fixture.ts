import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance, RouteOptions } from 'fastify';
import { pino } from 'pino';
import { digestHex, digestOf, type DeviceId, type Digest, type ModelName, type Version } from '@drover/shared/ids';
import type { Manifest } from '@drover/shared/manifest';
import { signEnrolment, type EnrolmentRequest } from '@drover/shared/protocol';
import {
  bulkSigner,
  createKeyPair,
  occasionalSigner,
  publicKeyOf,
  type Envelope,
  type KeyPair,
} from '@drover/shared/trust';
import {
  delegate,
  firstModelRole,
  firstRoot,
  firstTargets,
  renew,
  withRelease,
  type Holders,
} from '@drover/shared/trust/ceremony';
import { signatureOf, tufSigner, type Root, type Targets } from '@drover/shared/trust/tuf';
import { createApp } from '../src/app.js';
import { bundleRoutes } from '../src/bundles/index.js';
import { openBlobDirectory, type BlobStore } from '../src/blobs/index.js';
import { startBroker } from '../src/broker/index.js';
import { openDatabase, type Db } from '../src/database/index.js';
import { Authorities } from '../src/certificate-authority/index.js';
import {
  deviceCertificates,
  deviceDirectory,
  type DeviceCertificates,
  type EnrolmentFacts,
} from '../src/devices/index.js';
import { createDirector } from '../src/director/index.js';
import { tokens, type Role } from '../src/governance/index.js';
import { labelMetrics, labelRoutes, startLabelDelivery } from '../src/labels/index.js';
import { isLostTime, openRecovery, recoveryRoutes } from '../src/recovery/index.js';
import {
  metadataFiles,
  openOnlineKeys,
  releaseRepository,
  repositoryMetrics,
  type ReleaseRepository,
  type SentDocument,
} from '../src/release-repository/index.js';
import { rolloutMetrics, rolloutRoutes, startEngine } from '../src/rollouts/index.js';
import { openPacks, packRoutes, type Packs } from '../src/packs/index.js';
import { deviceViews, telemetryMetrics, telemetryRoutes } from '../src/telemetry/index.js';

/** Real database, real files, real HTTP stack; only the clock is held still. */
export interface ControlPlaneFixture {
  readonly app: FastifyInstance;
  /** Every route that was registered. */
  readonly routes: readonly RouteOptions[];
  readonly db: Db;
  readonly blobs: BlobStore;
  readonly packs: Packs;
  readonly directory: string;
  readonly clock: { at: number };
  readonly publisher: KeyPair;
  readonly rootKey: KeyPair;
  readonly authorities: Authorities;
  readonly certificates: DeviceCertificates;
  /** Devices whose connections were cut. */
  readonly cut: readonly string[];
  readonly repository: ReleaseRepository;
  readonly token: (role: Role) => Promise<Record<string, string>>;
  close(): Promise<void>;
}

const MAX_BLOB_BYTES = 1024 * 1024;

export async function startFixture(): Promise<ControlPlaneFixture> {
  const directory = mkdtempSync(join(tmpdir(), 'drover-control-plane-'));
  const clock = { at: 1_800_000_000_000 };
  const now = () => clock.at;
  const errors: unknown[] = [];
  const db = await openDatabase({ file: join(directory, 'control-plane.sqlite'), now });
  const blobs = await openBlobDirectory({ directory: join(directory, 'blobs'), maxBytes: MAX_BLOB_BYTES });
  const packs = await openPacks({
    blobs,
    folder: join(directory, 'packs'),
    maxCacheBytes: 64 * MAX_BLOB_BYTES,
    maxComputing: 1,
    onError: (error) => errors.push(error),
  });
  const directorKey = createKeyPair('director');
  const authorities = await Authorities.open(join(directory, 'certificate-authority'), now);
  const certificates = deviceCertificates(authorities, 90 * 86_400_000);
  const cut: string[] = [];
  const broker = await startBroker({
    host: '127.0.0.1',
    port: 0,
    devices: {
      ...deviceDirectory(db),
      holderOf: (certificate) => certificates.holderOf(db, certificate, now()),
    },
    now,
    onIncident: () => undefined,
  });
  const director = { threshold: 1, keys: [publicKeyOf(directorKey)] };
  const rootKey = createKeyPair('root');
  const recovery = await openRecovery({
    db,
    rootKeys: () => Promise.resolve({ threshold: 1, keys: [publicKeyOf(rootKey)] }),
    director,
    now,
  });
  const orders = createDirector({ db, signer: bulkSigner(directorKey), publisher: broker, now, recovery });
  const engine = startEngine({
    db,
    director: orders,
    recovery,
    now,
    onError: (error) => errors.push(error),
    intervalMs: 60_000,
  });
  const onError = (error: unknown): void => void errors.push(error);
  const delivery = startLabelDelivery({ db, director: orders, now, onError });
  const repository = releaseRepository({ db, files: blobs, keys: openOnlineKeys(join(directory, 'online-keys')), now });
  const app = createApp({
    db,
    blobs,
    repository,
    now,
    log: pino({ level: 'silent' }),
    version: '0.0.0-test',
    enrolment: {
      director,
      brokerUrl: (reachedAs) => `mqtt://${reachedAs}:1883`,
      epoch: () => recovery.epoch(),
      offersCredential: true,
      websocketPath: '/mqtt',
      pin: () => undefined,
    },
    certificates,
    history: { isLostTime: (time) => isLostTime(db, time) },
    onRevoked: (device) => {
      cut.push(device);
      return Promise.resolve();
    },
    reported: deviceViews(db),
    routes: [
      packRoutes({ packs }),
      bundleRoutes({ db, director: orders, recovery }),
      rolloutRoutes({ db, engine }),
      telemetryRoutes({ db }),
      labelRoutes({ db, now, delivery, onError }),
      recoveryRoutes({ recovery, onInstalled: () => Promise.resolve() }),
    ],
    metrics: [rolloutMetrics(db), telemetryMetrics(db), labelMetrics(db, now), repositoryMetrics(db, now)],
  });
  const declared: RouteOptions[] = [];
  app.addHook('onRoute', (route) => {
    declared.push(route);
  });
  await app.ready();
  const made = new Map<Role, string>();
  return {
    app,
    routes: declared,
    db,
    blobs,
    packs,
    directory,
    clock,
    publisher: createKeyPair('publisher'),
    rootKey,
    authorities,
    certificates,
    cut,
    repository,
    async token(role) {
      const known = made.get(role);
      const token =
        known ?? (await tokens(db).create({ name: `test ${role}`, role, createdBy: 'test', at: now() })).token;
      made.set(role, token);
      return { authorization: `Bearer ${token}` };
    },
    async close() {
      await app.close();
      await engine.close();
      await delivery.close();
      await broker.close();
      await packs.close();
      await db.destroy();
      if (errors.length > 0) throw new AggregateError(errors, 'something failed in the background');
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Of a control plane that nobody enrols at. */
export const enrolmentFactsOf = (brokerUrl: string): EnrolmentFacts => ({
  director: { threshold: 1, keys: [] },
  brokerUrl: () => brokerUrl,
  epoch: () => 1,
  offersCredential: true,
  websocketPath: undefined,
  pin: () => undefined,
});

export const MODEL = 'gas-classifier' as ModelName;
const YEAR_MS = 365 * 86_400_000;

export interface TestRelease {
  readonly manifest: Manifest;
  readonly digest: Digest;
  readonly manifestBytes: Buffer;
  /** With the manifest. */
  readonly files: readonly Uint8Array[];
}

/** A release of two small files. The control plane looks at digests, sizes and signatures, never into a model. */
export function makeRelease(version: string, changes: Partial<Manifest> = {}): TestRelease {
  const model = randomBytes(2000);
  const golden = randomBytes(100);
  const reference = (path: string, bytes: Uint8Array) => ({ path, digest: digestOf(bytes), bytes: bytes.length });
  const manifest: Manifest = {
    format: 'drover.release/1',
    model: MODEL,
    version: version as Version,
    createdAt: '2026-01-02T03:04:05Z',
    task: { type: 'tensors' },
    variants: [
      {
        name: 'default',
        hardwareClasses: ['*'],
        precision: 'fp32',
        model: reference('default/model.onnx', model),
        signature: {
          inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 4] }],
          outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 2] }],
        },
      },
    ],
    assets: [],
    contract: { perHardwareClass: [], parity: { absolute: 1e-4, relative: 1e-3 } },
    goldenVectors: reference('golden.json', golden),
    lineage: { data: [] },
    ...changes,
  };
  const manifestBytes = Buffer.from(JSON.stringify(manifest));
  return { manifest, digest: digestOf(manifestBytes), manifestBytes, files: [model, golden, manifestBytes] };
}

export const holders = (...keys: readonly KeyPair[]): Holders => ({ threshold: 1, keys });

export const signedBy = (role: string, signed: Root | Targets, ...keys: readonly KeyPair[]): SentDocument => ({
  role,
  signed,
  signatures: keys.map((key) => signatureOf(signed, tufSigner(key))),
});

/** The first root and targets, both held by the publisher, who may sign releases of `MODEL`. */
export function firstDocuments({ publisher, repository, clock }: ControlPlaneFixture): {
  root: Root;
  targets: Targets;
} {
  const expiresAtMs = clock.at + YEAR_MS;
  const online = { threshold: 1, keys: repository.keys.list() };
  const root = firstRoot({ root: holders(publisher), targets: holders(publisher), online, expiresAtMs });
  const targets = { ...delegate(firstTargets(expiresAtMs), MODEL, holders(publisher), expiresAtMs), version: 1 };
  return { root, targets };
}

export const publication = (fixture: ControlPlaneFixture, documents: readonly SentDocument[], role: Role = 'admin') =>
  post(fixture, role, '/repository/publications', { documents });

export async function beginRepository(fixture: ControlPlaneFixture): Promise<void> {
  const { root, targets } = firstDocuments(fixture);
  const { publisher } = fixture;
  const answer = await publication(fixture, [
    signedBy('root', root, publisher),
    signedBy('targets', targets, publisher),
  ]);
  if (answer.statusCode !== 201) throw new Error(answer.body);
}

/** The next version of the model's role, with these releases. */
export async function nextModelRole(
  fixture: ControlPlaneFixture,
  ...releases: readonly TestRelease[]
): Promise<Targets> {
  const expiresAtMs = fixture.clock.at + YEAR_MS;
  const present = (await metadataFiles(fixture.db).current())?.models.get(MODEL)?.signed;
  return releases.reduce(
    (role, { manifest, digest, manifestBytes }) =>
      withRelease(role, {
        model: MODEL,
        version: manifest.version,
        manifestBytes: manifestBytes.length,
        sha256: digestHex(digest),
      }),
    present ? renew(present, expiresAtMs) : firstModelRole(expiresAtMs),
  );
}

export async function publish(
  fixture: ControlPlaneFixture,
  release: TestRelease,
  key = fixture.publisher,
): Promise<Answer> {
  return publication(fixture, [signedBy(MODEL, await nextModelRole(fixture, release), key)], 'publisher');
}

/** What tests look at in an answer. */
export interface Answer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string | string[] | number | undefined>>;
  readonly body: string;
  readonly rawPayload: Buffer;
  json(): unknown;
}

export async function upload(
  { app, token }: ControlPlaneFixture,
  bytes: Uint8Array,
  digest: Digest = digestOf(bytes),
): Promise<Answer> {
  return app.inject({
    method: 'PUT',
    url: `/api/v1/blobs/${digestHex(digest)}`,
    headers: { ...(await token('publisher')), 'content-type': 'application/octet-stream' },
    payload: Buffer.from(bytes),
  });
}

export async function post(
  { app, token }: ControlPlaneFixture,
  role: Role,
  url: string,
  payload: object,
): Promise<Answer> {
  return app.inject({ method: 'POST', url: `/api/v1${url}`, headers: await token(role), payload });
}

export function enrolmentOf(
  key: KeyPair,
  claimToken: string,
  deviceId: string,
  changes: Partial<EnrolmentRequest> = {},
): Envelope {
  const request: EnrolmentRequest = {
    protocol: 1,
    kind: 'enrolment',
    claimToken,
    deviceId: deviceId as DeviceId,
    publicKey: publicKeyOf(key),
    hardwareClass: 'x86-cpu',
    attributes: { colour: 'red', site: 'claimed by the device' },
    agentVersion: '0.1.0',
    // A device whose clock was never set may enrol.
    at: 0,
    ...changes,
  };
  return JSON.parse(signEnrolment(request, occasionalSigner(key)).toString('utf8')) as Envelope;
}

export const errorCode = (answer: Answer): string => (answer.json() as { error: { code: string } }).error.code;
