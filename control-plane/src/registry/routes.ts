import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { AgentManifest, Manifest, ParametersManifest, ParameterValue, ParameterValues } from '@drover/shared/manifest';
import type { Db } from '../database/index.js';
import { digestText, listOf, modelNameText, responses, strict, versionText, VIEWER } from '../http/index.js';
import { releases } from './releases.js';
import { parametersReleases, parametersView } from './site-values.js';

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

const ParametersSummary = Type.Object({
  ...PublishedDocument.properties,
  compatible: Type.String(),
  publishedAt: Type.Integer(),
  publishedBy: Type.String(),
  withdrawnAt: Type.Optional(Type.Integer()),
});
const ParametersDocument = Type.Object({
  ...ParametersSummary.properties,
  against: Type.Optional(versionText),
  parameters: ParametersManifest.properties.parameters,
  sites: Type.Array(
    Type.Object({
      site: Type.Optional(Type.String({ description: 'Absent for devices of sites that are not named, and of none.' })),
      devices: Type.Integer(),
      values: ParameterValues,
      changes: Type.Array(
        Type.Object({
          name: Type.String(),
          before: Type.Optional(ParameterValue),
          after: Type.Optional(ParameterValue),
        }),
      ),
    }),
  ),
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

    app.get(
      '/models/:model/parameters',
      {
        config: { access: VIEWER },
        schema: {
          tags: ['registry'],
          params: Type.Object({ model: modelNameText }),
          response: responses({ 200: listOf(ParametersSummary) }),
        },
      },
      async ({ params: { model } }) => ({
        items: (await parametersReleases(db, model)).map(({ manifest, parent: _, ...release }) => ({
          ...release,
          model,
          compatible: manifest.compatible,
        })),
      }),
    );

    app.get(
      '/models/:model/parameters/:version',
      {
        config: { access: VIEWER },
        schema: {
          tags: ['registry'],
          params: Type.Object({ model: modelNameText, version: versionText }),
          querystring: Type.Object({ against: Type.Optional(versionText) }, strict),
          response: responses({ 200: ParametersDocument }),
        },
      },
      (request) => parametersView(db, { ...request.params, ...request.query }),
    );
    return Promise.resolve();
  };
