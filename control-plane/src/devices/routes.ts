import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { DeviceId } from '@drover/shared/ids';
import { DeviceCertificate, EnrolmentGrant, GRANT_READS_HEADER } from '@drover/shared/protocol';
import { encodeEnvelope, Envelope } from '@drover/shared/trust';
import type { Db } from '../database/index.js';
import {
  actorOf,
  DEVICE,
  deviceIdText,
  deviceOf,
  HttpError,
  listOf,
  OPERATOR,
  PUBLIC,
  responses,
  strict,
  VIEWER,
} from '../http/index.js';
import { AGENT_AGES, agentAge } from './agent-age.js';
import type { DeviceCertificates } from './certificates.js';
import { deviceDirectory, type Device } from './directory.js';
import { createClaimToken, enrolDevice, type EnrolmentFacts } from './enrolment.js';
import { readmitDevice, type LostHistory } from './readmission.js';
import { revokeDevice } from './revocation.js';
import type { Selector } from './selector.js';

const DAY_MS = 86_400_000;
const attributes = Type.Record(
  Type.String({ pattern: '^[A-Za-z0-9_.-]{1,64}$' }),
  Type.String({ maxLength: 200 }),
  strict,
);
const DeviceDocument = Type.Object(
  {
    id: deviceIdText,
    hardwareClass: Type.String(),
    agentVersion: Type.String(),
    agentAge: Type.Enum([...AGENT_AGES], { description: 'How this version stands to that of the control plane.' }),
    takes: Type.Array(Type.String(), {
      description:
        'Kinds of releases that it can carry out, and parts of manifests that it reads, by its own signed word.',
    }),
    attributes,
    enrolledAt: Type.Integer(),
    lastSeenAt: Type.Optional(Type.Integer()),
    connected: Type.Boolean(),
    revoked: Type.Optional(Type.Object({ at: Type.Integer(), by: Type.String(), reason: Type.String() })),
  },
  { description: 'Further keys say what the device reported, signed: what it runs, refusals, incidents, drift.' },
);
const oneOrMore = (pattern: string) =>
  Type.Union([Type.String({ pattern }), Type.Array(Type.String({ pattern }), { maxItems: 1000 })]);

export interface DeviceRouteDependencies {
  readonly db: Db;
  readonly now: () => number;
  readonly enrolment: EnrolmentFacts;
  /** Of this control plane. */
  readonly version: string;
  readonly certificates: DeviceCertificates;
  readonly history: LostHistory;
  /** Cuts what the device has open, and tells whoever else has to know. */
  readonly onRevoked: (id: DeviceId) => Promise<void>;
  /** What is known of these devices from their own signed reports, to be shown beside their registration. */
  readonly reported: (ids: readonly DeviceId[]) => Promise<ReadonlyMap<DeviceId, Readonly<Record<string, unknown>>>>;
}

/** Claim tokens, enrolment and the list of devices. */
export const deviceRoutes =
  ({
    db,
    now,
    version,
    enrolment,
    certificates,
    history,
    onRevoked,
    reported,
  }: DeviceRouteDependencies): FastifyPluginAsyncTypebox =>
  (app) => {
    const directory = deviceDirectory(db);
    const aged = (device: Device) => ({ ...device, agentAge: agentAge(device.agentVersion, version) });

    app.post(
      '/claim-tokens',
      {
        config: { access: OPERATOR },
        schema: {
          tags: ['devices'],
          body: Type.Object(
            {
              attributes,
              ttlMs: Type.Integer({ minimum: 1000, maximum: 365 * DAY_MS }),
              uses: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000 })),
              deviceId: Type.Optional(deviceIdText),
            },
            strict,
          ),
          response: responses({ 201: Type.Object({ claimToken: Type.String(), expiresAt: Type.Integer() }) }),
        },
      },
      async (request, reply) => {
        const { uses = 1, ...rest } = request.body;
        return reply
          .code(201)
          .send(await createClaimToken(db, { ...rest, uses, createdBy: actorOf(request), at: now() }, enrolment.pin()));
      },
    );

    app.post(
      '/enrolments',
      {
        // Public because the envelope carries its own proof: the claim token, and a signature by the key that it presents.
        config: { access: PUBLIC },
        bodyLimit: 64 * 1024,
        schema: { tags: ['devices'], body: Envelope, response: responses({ 201: EnrolmentGrant }) },
      },
      async (request, reply) =>
        reply.code(201).send(
          await enrolDevice(
            db,
            {
              envelope: encodeEnvelope(request.body),
              reachedAs: request.hostname,
              readsAttributes: request.headers[GRANT_READS_HEADER] === 'attributes',
              at: now(),
            },
            enrolment,
            certificates,
          ),
        ),
    );

    app.post(
      '/certificate-renewals',
      {
        // Public because the envelope carries its own proof: a signature by the key on record. The certificate may have run out.
        config: { access: PUBLIC },
        bodyLimit: 64 * 1024,
        schema: {
          tags: ['devices'],
          body: Envelope,
          response: responses({ 201: Type.Object({ deviceId: deviceIdText, ...DeviceCertificate.properties }) }),
        },
      },
      async (request, reply) => reply.code(201).send(await certificates.renew(db, encodeEnvelope(request.body), now())),
    );

    app.post(
      '/readmissions',
      {
        // Public because the envelope carries its own proof: a signature by the key of a certificate that we issued.
        config: { access: PUBLIC },
        bodyLimit: 64 * 1024,
        schema: {
          tags: ['devices'],
          description: 'For devices that enrolled after the backup which this control plane was restored from.',
          body: Envelope,
          response: responses({ 201: Type.Object({ deviceId: deviceIdText, ...DeviceCertificate.properties }) }),
        },
      },
      async (request, reply) =>
        reply
          .code(201)
          .send(await readmitDevice(db, { envelope: encodeEnvelope(request.body), at: now() }, certificates, history)),
    );

    app.get(
      '/device/certificate',
      {
        config: { access: DEVICE },
        schema: {
          tags: ['devices'],
          description: 'Whether the device should ask for a new certificate, and which authorities it should believe.',
          response: responses({
            200: Type.Object({ renewalDue: Type.Boolean(), authorities: Type.Array(Type.String()) }),
          }),
        },
      },
      async (request) => {
        const { renewalDue, authorities } = await certificates.status(db, deviceOf(request), now());
        return { renewalDue, authorities: [...authorities] };
      },
    );

    app.post(
      '/devices/:id/revocation',
      {
        config: { access: OPERATOR },
        schema: {
          tags: ['devices'],
          params: Type.Object({ id: deviceIdText }),
          body: Type.Object({ reason: Type.String({ minLength: 1, maxLength: 500 }) }, strict),
          response: responses({ 200: DeviceDocument }),
        },
      },
      async (request) => {
        const { id } = request.params;
        await revokeDevice(db, { id, reason: request.body.reason, by: actorOf(request), at: now() });
        await onRevoked(id);
        return aged(await directory.get(id));
      },
    );

    app.get(
      '/devices',
      {
        config: { access: VIEWER },
        schema: {
          tags: ['devices'],
          description: 'Selected by ?device=ID and ?attribute=NAME=VALUE, each repeatable; all conditions must hold.',
          querystring: Type.Object(
            {
              device: Type.Optional(oneOrMore('^[a-z0-9_-]{1,64}$')),
              attribute: Type.Optional(oneOrMore('^[A-Za-z0-9_.-]{1,64}=.{0,200}$')),
              after: Type.Optional(Type.String({ maxLength: 64 })),
              limit: Type.Optional(Type.String({ pattern: '^[1-9]\\d{0,3}$' })),
            },
            strict,
          ),
          response: responses({ 200: listOf(DeviceDocument) }),
        },
      },
      async ({ query }) => {
        const limit = Math.min(Number(query.limit ?? 1000), 1000);
        const page = { limit, ...(query.after === undefined ? {} : { after: query.after }) };
        const found = await directory.find(toSelector(query), page);
        const reports = await reported(found.map(({ id }) => id));
        const last = found.at(-1);
        return {
          items: found.map((device) => ({ ...aged(device), ...reports.get(device.id) })),
          ...(last && found.length === limit ? { next: last.id } : {}),
        };
      },
    );

    app.get(
      '/devices/:id',
      {
        config: { access: VIEWER },
        schema: {
          tags: ['devices'],
          params: Type.Object({ id: deviceIdText }),
          response: responses({ 200: DeviceDocument }),
        },
      },
      async ({ params: { id } }) => {
        const device = await directory.get(id);
        return { ...aged(device), ...(await reported([id])).get(id) };
      },
    );
    return Promise.resolve();
  };

type Repeatable = string | string[] | undefined;
const toArray = (value: Repeatable): string[] => (value === undefined ? [] : Array.isArray(value) ? value : [value]);

function toSelector({ device, attribute }: { device?: Repeatable; attribute?: Repeatable }): Selector {
  const wanted: Record<string, string> = {};
  for (const pair of toArray(attribute)) {
    const equals = pair.indexOf('=');
    const name = pair.slice(0, equals);
    if (Object.hasOwn(wanted, name)) {
      throw new HttpError('REQUEST_INVALID', `The attribute "${name}" is asked for twice.`, {
        remedy: 'Ask for one value of it.',
      });
    }
    wanted[name] = pair.slice(equals + 1);
  }
  const devices = toArray(device) as DeviceId[];
  if (devices.length === 0 && Object.keys(wanted).length === 0) return { all: true };
  return {
    ...(devices.length === 0 ? {} : { devices }),
    ...(Object.keys(wanted).length === 0 ? {} : { attributes: wanted }),
  };
}
