import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { Db } from '../database/index.js';
import { audit } from '../governance/index.js';
import { ADMIN, actorOf, listOf, responses, strict, VIEWER } from '../http/index.js';
import type { Authorities, Authority } from './authorities.js';
import { AuthorityError } from './errors.js';
import { issueServerCertificate } from './issue.js';
import { trustOf } from './revocation-list.js';
import { x509 } from './x509.js';

const DAY_MS = 86_400_000;
const MAX_SERVER_DAYS = 825;

const AuthorityDocument = Type.Object({
  number: Type.Integer(),
  state: Type.Enum(['issuing', 'accepted', 'retired']),
  pin: Type.String({ description: 'SHA-256 of its public key, as claim tokens carry it.' }),
  certificate: Type.String(),
  createdAt: Type.Integer(),
  expiresAt: Type.Integer(),
  retiredAt: Type.Optional(Type.Integer()),
  devices: Type.Integer({ description: 'Devices whose newest certificate that they have used is by this authority.' }),
});

export interface AuthorityRouteDependencies {
  readonly db: Db;
  readonly authorities: Authorities;
  readonly now: () => number;
  /** Other authorities are in force: listeners change their certificates, and devices come again to learn it. */
  readonly onChanged: () => Promise<void>;
}

/** The control plane's own certificate authority: look at it, replace it, retire an old one, and what brokers beside us need of it. */
export const authorityRoutes =
  ({ db, authorities, now, onChanged }: AuthorityRouteDependencies): FastifyPluginAsyncTypebox =>
  (app) => {
    const document = async (authority: Authority) => ({
      number: authority.number,
      state: stateOf(authority, authorities),
      pin: authority.pin,
      certificate: authority.pem,
      createdAt: authority.createdAtMs,
      expiresAt: authority.expiresAtMs,
      ...(authority.retiredAtMs === undefined ? {} : { retiredAt: authority.retiredAtMs }),
      devices: await countDevices(db, authority.number),
    });

    app.get(
      '/certificate-authorities',
      {
        config: { access: VIEWER },
        schema: { tags: ['certificates'], response: responses({ 200: listOf(AuthorityDocument) }) },
      },
      async () => ({ items: await Promise.all(authorities.list().map(document)) }),
    );

    app.post(
      '/certificate-authorities',
      {
        config: { access: ADMIN },
        schema: { tags: ['certificates'], response: responses({ 201: AuthorityDocument }) },
      },
      async (request, reply) => {
        const made = await authorities.rotate();
        await record(request, 'certificate-authority.rotate', made.number);
        await onChanged();
        return reply.code(201).send(await document(made));
      },
    );

    app.post(
      '/certificate-authorities/:number/retirement',
      {
        config: { access: ADMIN },
        schema: {
          tags: ['certificates'],
          params: Type.Object({ number: Type.String({ pattern: '^\\d{1,6}$' }) }),
          response: responses({ 200: AuthorityDocument }),
        },
      },
      async (request) => {
        const retired = authorities.retire(Number(request.params.number));
        await record(request, 'certificate-authority.retire', retired.number);
        await onChanged();
        return document(retired);
      },
    );

    app.get(
      '/certificate-authorities/trust',
      {
        config: { access: VIEWER },
        schema: {
          tags: ['certificates'],
          description:
            'For a broker beside this control plane: whose clients to believe, and which of them no more (PEM).',
          response: responses({ 200: Type.Object({ authorities: Type.String(), revocationLists: Type.String() }) }),
        },
      },
      () => trustOf(db, authorities, now()),
    );

    app.post(
      '/server-certificates',
      {
        config: { access: ADMIN },
        schema: {
          tags: ['certificates'],
          description:
            'A certificate for a broker beside this control plane, for the key of the signing request (PKCS #10, PEM).',
          body: Type.Object(
            {
              names: Type.Array(Type.String({ pattern: '^[A-Za-z0-9.:*_-]{1,253}$' }), { minItems: 1, maxItems: 100 }),
              request: Type.String({ maxLength: 20_000 }),
              days: Type.Integer({ minimum: 1, maximum: MAX_SERVER_DAYS }),
            },
            strict,
          ),
          response: responses({ 201: Type.Object({ chain: Type.String() }) }),
        },
      },
      async (request, reply) => {
        const { names, days } = request.body;
        const publicKey = await keyOf(request.body.request);
        const validity = { fromMs: now(), untilMs: now() + days * DAY_MS };
        const certificate = await issueServerCertificate(authorities.issuer(), { names, publicKey }, validity);
        await audit(db).append({
          actor: actorOf(request),
          action: 'server-certificate.issue',
          subject: names.join(', '),
          detail: { days },
          at: now(),
        });
        return reply.code(201).send({ chain: [`${certificate.toString('pem')}\n`, ...authorities.chain()].join('') });
      },
    );

    async function record(request: Parameters<typeof actorOf>[0], action: string, number: number): Promise<void> {
      await audit(db).append({ actor: actorOf(request), action, subject: String(number), detail: {}, at: now() });
    }
    return Promise.resolve();
  };

const stateOf = (authority: Authority, authorities: Authorities): 'issuing' | 'accepted' | 'retired' =>
  authority.retiredAtMs !== undefined ? 'retired' : authority === authorities.current() ? 'issuing' : 'accepted';

async function countDevices(db: Db, authority: number): Promise<number> {
  const { devices } = await db
    .selectFrom('device_certificates as own')
    .innerJoin('devices', 'devices.id', 'own.device_id')
    .where('devices.revoked_at', 'is', null)
    .where('own.authority', '=', authority)
    .where('own.first_used_at', 'is not', null)
    .where((where) =>
      where.not(
        where.exists(
          where
            .selectFrom('device_certificates as later')
            .select('later.serial')
            .whereRef('later.device_id', '=', 'own.device_id')
            .where('later.first_used_at', 'is not', null)
            .whereRef('later.issued_at', '>', 'own.issued_at'),
        ),
      ),
    )
    .select(({ fn }) => fn.count<number | string>('own.device_id').distinct().as('devices'))
    .executeTakeFirstOrThrow();
  return Number(devices);
}

/** @throws AuthorityError CERTIFICATE_REQUEST_INVALID, also when whoever made it does not hold the key */
async function keyOf(pem: string): Promise<x509.PublicKey> {
  const refuse = (why: string, cause?: unknown) =>
    new AuthorityError('CERTIFICATE_REQUEST_INVALID', `This is no certificate signing request: ${why}.`, {
      remedy: 'Make it with `drover ca server`, or with `openssl req -new`.',
      cause,
    });
  let holds: boolean;
  let request: x509.Pkcs10CertificateRequest;
  try {
    request = new x509.Pkcs10CertificateRequest(pem);
    holds = await request.verify();
  } catch (cause) {
    throw refuse(cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (!holds) throw refuse('its signature does not hold');
  return request.publicKey;
}
