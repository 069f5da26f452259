import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { REPORT_BODIES, type ReportKind } from '@drover/shared/protocol';
import type { Db } from '../database/index.js';
import {
  countText,
  deviceIdText,
  digestText,
  listOf,
  modelNameText,
  pageQuery,
  responses,
  strict,
  toPage,
  versionText,
  VIEWER,
} from '../http/index.js';
import { fieldAccuracy, listReports } from './field.js';
import { inputsOf } from './inputs.js';

const kind = Type.Unsafe<ReportKind>(Type.String({ enum: Object.keys(REPORT_BODIES) }));

const ReportDocument = Type.Object({
  id: Type.Integer({ description: 'Grows in the order of arrival; pass the last one as `after`.' }),
  deviceId: deviceIdText,
  sequence: Type.Integer(),
  kind,
  at: Type.Integer({ description: "By the device's clock." }),
  receivedAt: Type.Integer(),
  body: Type.Unknown({ description: 'As the device signed it (docs/protocol.md, section 5).' }),
});

const FieldDocument = Type.Object({
  release: Type.Object({ version: versionText, digest: digestText }),
  devices: Type.Integer(),
  requests: Type.Integer(),
  failures: Type.Integer(),
  labelled: Type.Integer(),
  correct: Type.Integer(),
  accuracy: Type.Optional(Type.Number({ description: 'correct / labelled; absent without labels.' })),
  errors: Type.Optional(
    Type.Object(
      {
        count: Type.Integer(),
        mean: Type.Number({ description: 'By how much values were too large.' }),
        meanAbsolute: Type.Number(),
        rootMeanSquare: Type.Number(),
      },
      { description: 'Of a regression, in the unit of its task; absent where no true value has arrived.' },
    ),
  ),
});

const InputsDocument = Type.Object({
  release: Type.Object({ version: versionText, digest: digestText }),
  devices: Type.Integer(),
  rows: Type.Integer({ description: 'That were held against the contract, those of refused requests included.' }),
  refusedRequests: Type.Integer(),
  rules: Type.Array(
    Type.Object({
      rule: Type.Integer({ description: 'Its place among all rules of the contract.' }),
      input: Type.String(),
      feature: Type.Optional(Type.String({ description: 'The column; absent for every value of the input.' })),
      says: Type.String(),
      devices: Type.Integer(),
      rows: Type.Integer({ description: 'That broke it.' }),
      windows: Type.Integer(),
      windowsBelow: Type.Integer({ description: 'Windows in which too few rows held.' }),
      devicesBelow: Type.Integer({
        description: 'Devices that run the release and whose newest window is one of these.',
      }),
    }),
  ),
});

const toNumber = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number(text));

/** Reports of the devices, and what they say together about each release. */
export const telemetryRoutes =
  ({ db }: { readonly db: Db }): FastifyPluginAsyncTypebox =>
  (app) => {
    app.get(
      '/reports',
      {
        config: { access: VIEWER },
        schema: {
          tags: ['telemetry'],
          querystring: Type.Object(
            { kind: Type.Optional(kind), device: Type.Optional(deviceIdText), ...pageQuery },
            strict,
          ),
          response: responses({ 200: listOf(ReportDocument) }),
        },
      },
      async ({ query }) => {
        const { after, limit } = toPage(query);
        const items = await listReports(db, { kind: query.kind, device: query.device, after, limit });
        const last = items.at(-1);
        return last && items.length === limit ? { items, next: last.id } : { items };
      },
    );

    app.get(
      '/models/:model/field',
      {
        config: { access: VIEWER },
        schema: {
          tags: ['telemetry'],
          params: Type.Object({ model: modelNameText }, strict),
          querystring: Type.Object({ since: Type.Optional(countText), until: Type.Optional(countText) }, strict),
          response: responses({ 200: listOf(FieldDocument) }),
        },
      },
      async ({ params, query }) => {
        const field = await fieldAccuracy(db, {
          model: params.model,
          since: toNumber(query.since),
          until: toNumber(query.until),
        });
        return {
          items: field.map(({ accuracy, errors, ...counts }) => ({
            ...counts,
            ...(accuracy !== undefined && { accuracy }),
            ...(errors && { errors }),
          })),
        };
      },
    );

    app.get(
      '/models/:model/inputs',
      {
        config: { access: VIEWER },
        schema: {
          tags: ['telemetry'],
          params: Type.Object({ model: modelNameText }, strict),
          querystring: Type.Object({ since: Type.Optional(countText) }, strict),
          response: responses({ 200: listOf(InputsDocument) }),
        },
      },
      async ({ params, query }) => ({
        items: await inputsOf(db, { model: params.model, since: toNumber(query.since) }),
      }),
    );
    return Promise.resolve();
  };
