import { gzip } from 'node:zlib';
import { promisify } from 'node:util';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { PublicKey } from '@drover/shared/trust';
import type { Db } from '../database/index.js';
import { audit, roleIncludes } from '../governance/index.js';
import {
  actorOf,
  ADMIN,
  CONTENT,
  ErrorDocument,
  hasAlready,
  holderOf,
  HttpError,
  listOf,
  PUBLISHER,
  responses,
  strict,
  VIEWER,
} from '../http/index.js';
import { repositoryState } from './expiry.js';
import { isTopLevel, metadataFiles, type StoredFile } from './metadata-files.js';
import { MAX_PUBLICATION_BYTES, MAX_PUBLICATION_DOCUMENTS } from './publication-bounds.js';
import type { ReleaseRepository } from './repository.js';

const FileName = Type.String({ pattern: '^(?:[1-9]\\d{0,15}\\.)?[a-z0-9_-]{1,64}\\.json$' });
const RoleDocument = Type.Object({
  role: Type.String(),
  version: Type.Integer(),
  expiresAt: Type.Integer({ description: 'Milliseconds since 1970.' }),
  secondsLeft: Type.Integer({ description: 'Below zero when it has expired.' }),
  condition: Type.Enum(['good', 'expiring', 'expired']),
  threshold: Type.Integer(),
  keyIds: Type.Array(Type.String()),
});
const RepositoryDocument = Type.Object({
  exists: Type.Boolean(),
  development: Type.Boolean(),
  roles: Type.Array(RoleDocument),
  waiting: Type.Array(Type.String()),
  problems: Type.Array(ErrorDocument.properties.error),
});
const SentDocument = Type.Object(
  {
    role: Type.String({ pattern: '^[a-z0-9_-]{1,64}$' }),
    signed: Type.Object({}, { additionalProperties: true }),
    signatures: Type.Array(Type.Object({ keyid: Type.String(), sig: Type.String() }, strict), { maxItems: 256 }),
  },
  strict,
);
const PublicationBody = Type.Object(
  { documents: Type.Array(SentDocument, { minItems: 1, maxItems: MAX_PUBLICATION_DOCUMENTS }) },
  strict,
);
const PublishedRole = Type.Object({ role: Type.String(), version: Type.Integer() });

/** Below it the frame of gzip eats what it saves. */
const MIN_COMPRESSED_BYTES = 200;

export interface RepositoryDependencies {
  readonly db: Db;
  readonly repository: ReleaseRepository;
  readonly now: () => number;
}

/** The release repository: metadata for devices, publications and the state of the roles for publishers. */
export const repositoryRoutes =
  ({ db, repository, now }: RepositoryDependencies): FastifyPluginAsyncTypebox =>
  (app) => {
    const params = Type.Object({ file: FileName });
    app.get(
      '/device/metadata/:file',
      { config: { access: CONTENT }, schema: { tags: ['device'], params } },
      async (request, reply) => sendFile(request, reply, await metadataFiles(db).named(request.params.file), 'public'),
    );

    app.get(
      '/repository/metadata/:file',
      { config: { access: VIEWER }, schema: { tags: ['release repository'], params } },
      async (request, reply) => sendFile(request, reply, await metadataFiles(db).named(request.params.file), 'private'),
    );

    app.get(
      '/repository',
      {
        config: { access: VIEWER },
        schema: { tags: ['release repository'], response: responses({ 200: RepositoryDocument }) },
      },
      async () => {
        const { roles, waiting, problems, ...rest } = repositoryState(await metadataFiles(db).current(), now());
        return {
          ...rest,
          roles: roles.map((role) => ({ ...role, keyIds: [...role.keyIds] })),
          waiting: [...waiting],
          problems: problems.map((problem) => ({ ...problem, fault: 'caller' as const })),
        };
      },
    );

    app.get(
      '/repository/online-keys',
      {
        config: { access: VIEWER },
        schema: { tags: ['release repository'], response: responses({ 200: listOf(PublicKey) }) },
      },
      () => ({ items: [...repository.keys.list()] }),
    );

    app.post(
      '/repository/online-keys',
      {
        config: { access: ADMIN },
        schema: { tags: ['release repository'], response: responses({ 201: PublicKey }) },
      },
      async (request, reply) => {
        const key = repository.keys.create();
        await audit(db).append({
          actor: actorOf(request),
          action: 'repository.online-key.create',
          subject: key.keyId,
          detail: {},
          at: now(),
        });
        return reply.code(201).send(key);
      },
    );

    app.post(
      '/repository/publications',
      {
        config: { access: PUBLISHER },
        bodyLimit: MAX_PUBLICATION_BYTES,
        schema: {
          tags: ['release repository'],
          body: PublicationBody,
          response: responses({ 201: listOf(PublishedRole) }),
        },
      },
      async (request, reply) => {
        requireRoleFor(request, request.body.documents);
        const items = await repository.publish(request.body.documents, actorOf(request));
        return reply.code(201).send({ items });
      },
    );
    return Promise.resolve();
  };

/** The first root is taken on the word of whoever brings it; that has to be an administrator. */
function requireRoleFor(request: FastifyRequest, documents: readonly { role: string }[]): void {
  const { name, role } = holderOf(request);
  const topLevel = documents.find((document) => isTopLevel(document.role));
  if (!topLevel || roleIncludes(role, 'admin')) return;
  throw new HttpError(
    'AUTH_FORBIDDEN',
    `Publishing ${topLevel.role} needs the role admin; the token "${name}" has the role ${role}.`,
    {
      remedy: 'Let an administrator publish the file; a publisher may publish the roles of models.',
    },
  );
}

const compress = promisify(gzip);

/** A version never changes; what has none in its name is the newest, and may be kept to be asked for again by its tag. */
async function sendFile(
  request: FastifyRequest,
  reply: FastifyReply,
  { role, version, body }: StoredFile,
  scope: 'public' | 'private',
) {
  const bytes = Buffer.from(body);
  const isVersioned = /\/\d+\.[^/]+$/.test(request.url.split('?')[0] ?? '');
  const isCompressed = bytes.length >= MIN_COMPRESSED_BYTES && acceptsGzip(request);
  // Two representations, two tags (RFC 9110, section 8.8.3.3).
  const etag = `"${role}.${version}${isCompressed ? '-gzip' : ''}"`;
  void reply
    .header('etag', etag)
    .header('vary', 'accept-encoding')
    .header('cache-control', `${scope}, ${isVersioned ? 'max-age=31536000, immutable' : 'no-cache'}`);
  if (hasAlready(request, etag)) return reply.code(304).send();
  void reply.type('application/json');
  if (!isCompressed) return reply.send(bytes);
  return reply.header('content-encoding', 'gzip').send(await compress(bytes, { level: 9 }));
}

const acceptsGzip = ({ headers }: FastifyRequest): boolean =>
  (headers['accept-encoding'] ?? '').split(',').some((coding) => coding.trim().split(';')[0] === 'gzip');
