import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { AgentManifest, Manifest, ParametersManifest } from '@drover/shared/manifest';
import type { Db } from '../database/index.js';
import { digestText, listOf, modelNameText, responses, versionText, VIEWER } from '../http/index.js';
import { releases } from './releases.js';

const PublishedDocument = Type.Object({ model: modelNameText, version: versionText, digest: digestText });
const ReleaseDocument = Type.Object({
  ...PublishedDocument.properties,
  parent: Type.Optional(digestText),
  publishedAt: Type.Integer(),
  publishedBy: Type.String(),
  withdrawnAt: Type.Optional(Type.Integer()),
  manifest: Type.Union([Manifest, AgentManifest, ParametersManifest]),
});
const ModelDocument = Type.Object({
  model: modelNameText,
  releases: Type.Integer(),
  newest: versionText,
  lastPublishedAt: Type.Integer(),
});

export interface RegistryDependencies {
  readonly db: Db;
}

/** Reading what was published. */
export const registryRoutes =
  ({ db }: RegistryDependencies): FastifyPluginAsyncTypebox =>
  (app) => {
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
    return Promise.resolve();
  };
