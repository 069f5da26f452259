import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { AgentManifest, Manifest } from '@drover/shared/manifest';
import { Envelope, KeySet } from '@drover/shared/trust';
import type { Db } from '../database/index.js';
import {
  actorOf,
  ADMIN,
  DEVICE,
  digestHexText,
  digestText,
  listOf,
  modelNameText,
  PUBLISHER,
  responses,
  toDigest,
  versionText,
  VIEWER,
} from '../http/index.js';
import { publish, type StoredFiles } from './publish.js';
import { publisherKeys } from './publisher-keys.js';
import { releases } from './releases.js';

const PublishedDocument = Type.Object({ model: modelNameText, version: versionText, digest: digestText });
const ReleaseDocument = Type.Object({
  ...PublishedDocument.properties,
  parent: Type.Optional(digestText),
  publishedAt: Type.Integer(),
  publishedBy: Type.String(),
  manifest: Type.Union([Manifest, AgentManifest]),
});
const ModelDocument = Type.Object({
  model: modelNameText,
  releases: Type.Integer(),
  newest: versionText,
  lastPublishedAt: Type.Integer(),
});

/** A manifest of 1 MiB in base64, its frame and its signatures. */
const MAX_ENVELOPE_BYTES = 2 * 1024 * 1024;

export interface RegistryDependencies {
  readonly db: Db;
  readonly files: StoredFiles;
  readonly now: () => number;
}

/** Publisher keys, publishing, and reading what was published. */
export const registryRoutes =
  ({ db, files, now }: RegistryDependencies): FastifyPluginAsyncTypebox =>
  (app) => {
    app.get(
      '/publisher-keys',
      { config: { access: VIEWER }, schema: { tags: ['registry'], response: responses({ 200: KeySet }) } },
      () => publisherKeys(db).required(),
    );

    app.put(
      '/publisher-keys',
      { config: { access: ADMIN }, schema: { tags: ['registry'], body: KeySet, response: responses({ 200: KeySet }) } },
      async (request) => {
        await publisherKeys(db).replace(request.body, actorOf(request), now());
        return request.body;
      },
    );

    app.post(
      '/releases',
      {
        config: { access: PUBLISHER },
        bodyLimit: MAX_ENVELOPE_BYTES,
        schema: { tags: ['registry'], body: Envelope, response: responses({ 201: PublishedDocument }) },
      },
      async (request, reply) => {
        const published = await publish(db, files, { envelope: request.body, by: actorOf(request), at: now() });
        return reply.code(201).send(published);
      },
    );

    app.get(
      '/models',
      {
        config: { access: VIEWER },
        schema: { tags: ['registry'], response: responses({ 200: listOf(ModelDocument) }) },
      },
      async () => ({ items: await releases(db).models() }),
    );

    app.get(
      '/models/:model/releases',
      {
        config: { access: VIEWER },
        schema: {
          tags: ['registry'],
          params: Type.Object({ model: modelNameText }),
          response: responses({ 200: listOf(ReleaseDocument) }),
        },
      },
      async (request) => ({ items: await releases(db).of(request.params.model) }),
    );

    app.get(
      '/models/:model/releases/:version',
      {
        config: { access: VIEWER },
        schema: {
          tags: ['registry'],
          params: Type.Object({ model: modelNameText, version: versionText }),
          response: responses({ 200: ReleaseDocument }),
        },
      },
      (request) => releases(db).get(request.params.model, request.params.version),
    );

    app.get(
      '/device/releases/:digest',
      {
        config: { access: DEVICE },
        schema: {
          tags: ['device'],
          params: Type.Object({ digest: digestHexText }),
          response: responses({ 200: Envelope }),
        },
      },
      (request) => releases(db).envelope(toDigest(request.params.digest)),
    );
    return Promise.resolve();
  };
