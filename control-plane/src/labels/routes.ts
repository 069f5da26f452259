import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { UUID_PATTERN, type DeviceId, type LabelRequestId } from '@drover/shared/ids';
import type { Db } from '../database/index.js';
import {
  actorOf,
  deviceIdText,
  ErrorDocument,
  LABEL_READER,
  LABELLER,
  listOf,
  modelNameText,
  pageQuery,
  responses,
  strict,
  toPage,
  versionText,
} from '../http/index.js';
import { takeAnswers, type GivenLabel } from './answers.js';
import type { LabelDelivery } from './delivery.js';
import { listLabelRequests, showLabelRequest, STANDINGS } from './requests.js';

const id = Type.Unsafe<LabelRequestId>(Type.String({ pattern: UUID_PATTERN }));
const at = Type.Integer({ description: 'Milliseconds since 1970.' });
const deviceAt = Type.Integer({ description: 'Milliseconds since 1970, by the clock of the device.' });
const NamedClass = Type.Object({ index: Type.Integer(), name: Type.Optional(Type.String()) });

const LabelRequestDocument = Type.Object({
  number: Type.Integer({ description: 'Grows in the order of arrival; pass the last one as `after`.' }),
  id,
  deviceId: deviceIdText,
  site: Type.Optional(Type.String()),
  model: modelNameText,
  version: versionText,
  requestId: Type.Optional(Type.String({ description: 'Of the inference, as its application named it.' })),
  row: Type.Integer(),
  reason: Type.String({ description: '`random`: drawn evenly; `targeted`: the model was unsure.' }),
  requestedAt: deviceAt,
  servedAt: deviceAt,
  expiresAt: at,
  prediction: NamedClass,
  confidence: Type.Optional(Type.Number()),
  features: Type.Optional(
    Type.Array(Type.Union([Type.Number(), Type.Null()]), { description: 'Only where the device sends them.' }),
  ),
  answer: Type.Optional(
    Type.Object({
      label: Type.Union([NamedClass, Type.Null()]),
      at,
      by: Type.String(),
      became: Type.Enum([...STANDINGS], { description: 'By the word of the device; `waiting` until it has said so.' }),
      becameAt: Type.Optional(at),
    }),
  ),
});

const label = Type.Unsafe<GivenLabel>(
  Type.Union(
    [Type.Integer({ minimum: 0, maximum: 999_999_999 }), Type.String({ minLength: 1, maxLength: 200 }), Type.Null()],
    { description: 'Name of the class, else its index; null from somebody who cannot tell.' },
  ),
);
const params = Type.Object({ id }, strict);
/** They are taken in one transaction, and the audit log gets an entry for each. */
const MAX_ANSWERS = 1_000;
const AnswerResult = Type.Object({ id, error: Type.Optional(ErrorDocument.properties.error) });

export interface LabelRouteDependencies {
  readonly db: Db;
  readonly delivery: Pick<LabelDelivery, 'send'>;
  /** An answer could not be handed to the broker; it is tried again. */
  readonly onError: (error: unknown) => void;
  readonly now: () => number;
}

/** What devices would like labelled, and what it is answered. */
export const labelRoutes =
  ({ db, now, delivery, onError }: LabelRouteDependencies): FastifyPluginAsyncTypebox =>
  (app) => {
    const schema = { tags: ['labels'] };
    const sendTo = async (devices: readonly DeviceId[]): Promise<void> => {
      for (const device of new Set(devices)) await delivery.send(device).catch(onError);
    };
    app.get(
      '/label-requests',
      {
        config: { access: LABEL_READER },
        schema: {
          ...schema,
          querystring: Type.Object(
            {
              state: Type.Optional(Type.Enum(['open', 'answered'])),
              model: Type.Optional(modelNameText),
              device: Type.Optional(deviceIdText),
              site: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
              reason: Type.Optional(Type.String({ minLength: 1, maxLength: 32 })),
              ...pageQuery,
            },
            strict,
          ),
          response: responses({ 200: listOf(LabelRequestDocument) }),
        },
      },
      async ({ query }) => {
        const { state = 'open', model, device, site, reason } = query;
        const { after, limit } = toPage(query);
        const filter = { state, model, device, site, reason };
        const items = await listLabelRequests(db, { ...filter, after, limit, nowMs: now() });
        const last = items.at(-1);
        return last && items.length === limit ? { items, next: last.number } : { items };
      },
    );

    app.get(
      '/label-requests/:id',
      {
        config: { access: LABEL_READER },
        schema: { ...schema, params, response: responses({ 200: LabelRequestDocument }) },
      },
      (request) => showLabelRequest(db, request.params.id, now()),
    );

    app.post(
      '/label-requests/:id/answer',
      {
        config: { access: LABELLER },
        schema: {
          ...schema,
          params,
          body: Type.Object({ label }, strict),
          response: responses({ 200: LabelRequestDocument }),
        },
      },
      async (request) => {
        const answer = { id: request.params.id, label: request.body.label };
        for (const taken of await takeAnswers(db, [answer], actorOf(request), now())) {
          if ('error' in taken) throw taken.error;
          await sendTo([taken.device]);
        }
        return showLabelRequest(db, request.params.id, now());
      },
    );

    app.post(
      '/label-answers',
      {
        config: { access: LABELLER },
        schema: {
          ...schema,
          body: Type.Object(
            { answers: Type.Array(Type.Object({ id, label }, strict), { minItems: 1, maxItems: MAX_ANSWERS }) },
            strict,
          ),
          response: responses({ 200: listOf(AnswerResult) }),
        },
      },
      async (request) => {
        const taken = await takeAnswers(db, request.body.answers, actorOf(request), now());
        await sendTo(taken.flatMap((each) => ('device' in each ? [each.device] : [])));
        return {
          items: taken.map((each) =>
            'error' in each
              ? { id: each.id, error: { ...each.error.toJSON(), fault: each.error.fault } }
              : { id: each.id },
          ),
        };
      },
    );
    return Promise.resolve();
  };
