import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { Db } from '../database/index.js';
import {
  actorOf,
  ADMIN,
  holderOf,
  LABEL_READER,
  listOf,
  pageQuery,
  responses,
  strict,
  toPage,
  VIEWER,
} from '../http/index.js';
import { audit } from './audit.js';
import { ROLES } from './roles.js';
import { tokens } from './tokens.js';

const RoleText = Type.Enum([...ROLES]);
const Token = Type.Object({ id: Type.String(), name: Type.String(), role: RoleText });
const TokenListing = Type.Object({ ...Token.properties, createdAt: Type.Integer(), createdBy: Type.String() });
const AuditEntry = Type.Object({
  sequence: Type.Integer(),
  at: Type.Integer(),
  actor: Type.String(),
  action: Type.String(),
  subject: Type.String(),
  detail: Type.Record(Type.String(), Type.Unknown()),
  hash: Type.String(),
});

export interface GovernanceDependencies {
  readonly db: Db;
  readonly now: () => number;
}

/** Tokens, the caller's own identity, and the audit log. */
export const governanceRoutes =
  ({ db, now }: GovernanceDependencies): FastifyPluginAsyncTypebox =>
  (app) => {
    app.get(
      '/whoami',
      {
        // Of everybody who can log in with `drover login`.
        config: { access: LABEL_READER },
        schema: {
          tags: ['governance'],
          response: responses({ 200: Type.Object({ name: Type.String(), role: RoleText }) }),
        },
      },
      (request) => holderOf(request),
    );

    app.get(
      '/tokens',
      {
        config: { access: ADMIN },
        schema: { tags: ['governance'], response: responses({ 200: listOf(TokenListing) }) },
      },
      async () => ({ items: await tokens(db).list() }),
    );

    app.post(
      '/tokens',
      {
        config: { access: ADMIN },
        schema: {
          tags: ['governance'],
          body: Type.Object(
            { name: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,99}$' }), role: RoleText },
            strict,
          ),
          response: responses({
            201: Type.Object({ ...Token.properties, token: Type.String({ description: 'Shown this once.' }) }),
          }),
        },
      },
      async (request, reply) => {
        const { name, role } = request.body;
        const created = await db.transaction().execute(async (trx) => {
          const token = await tokens(trx).create({ name, role, createdBy: actorOf(request), at: now() });
          await audit(trx).append({
            actor: actorOf(request),
            action: 'token.create',
            subject: token.id,
            detail: { name, role },
            at: now(),
          });
          return token;
        });
        return reply.code(201).send({ id: created.id, name, role, token: created.token });
      },
    );

    app.delete(
      '/tokens/:id',
      {
        config: { access: ADMIN },
        schema: {
          tags: ['governance'],
          params: Type.Object({ id: Type.String({ maxLength: 64 }) }),
          response: responses({ 200: Token }),
        },
      },
      async (request) =>
        db.transaction().execute(async (trx) => {
          const removed = await tokens(trx).remove(request.params.id);
          await audit(trx).append({
            actor: actorOf(request),
            action: 'token.delete',
            subject: removed.id,
            detail: { name: removed.name, role: removed.role },
            at: now(),
          });
          return removed;
        }),
    );

    app.get(
      '/audit',
      {
        config: { access: VIEWER },
        schema: {
          tags: ['governance'],
          querystring: Type.Object(pageQuery, strict),
          response: responses({ 200: listOf(AuditEntry) }),
        },
      },
      async (request) => {
        const page = toPage(request.query);
        const items = await audit(db).list(page);
        const last = items.at(-1);
        return { items, ...(last && items.length === page.limit ? { next: last.sequence } : {}) };
      },
    );

    app.get(
      '/audit/verification',
      {
        config: { access: VIEWER },
        schema: {
          tags: ['governance'],
          response: responses({
            200: Type.Object({
              intact: Type.Boolean(),
              entries: Type.Integer(),
              head: Type.Optional(Type.String()),
              firstBad: Type.Optional(Type.Integer()),
              why: Type.Optional(Type.String()),
            }),
          }),
        },
      },
      () => audit(db).verify(),
    );
    return Promise.resolve();
  };
