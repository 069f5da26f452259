import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type, type Static } from 'typebox';
import { UUID_PATTERN, type RolloutId } from '@drover/shared/ids';
import type { Db } from '../database/index.js';
import {
  actorOf,
  deviceIdText,
  digestText,
  listOf,
  modelNameText,
  OPERATOR,
  pageQuery,
  responses,
  strict,
  toPage,
  versionText,
  VIEWER,
} from '../http/index.js';
import type { RolloutEngine } from './engine.js';
import { listEvents } from './events.js';
import { RolloutRequest } from './request.js';
import { DEVICE_TRANSITIONS, ROLLOUT_TRANSITIONS, type RolloutDeviceState, type RolloutState } from './states.js';
import { listRollouts, showRollout } from './view.js';

const id = Type.Unsafe<RolloutId>(Type.String({ pattern: UUID_PATTERN }));
const params = Type.Object({ id }, strict);
const at = Type.Integer({ description: 'Milliseconds since 1970.' });
const deviceState = Type.Unsafe<RolloutDeviceState>(Type.String({ enum: Object.keys(DEVICE_TRANSITIONS) }));

const RolloutDocument = Type.Object({
  id,
  model: modelNameText,
  release: Type.Object({ version: versionText, digest: digestText }),
  state: Type.Unsafe<RolloutState>(Type.String({ enum: Object.keys(ROLLOUT_TRANSITIONS) })),
  reason: Type.String(),
  stage: Type.Object({ index: Type.Integer(), name: Type.String(), devices: Type.Integer(), of: Type.Integer() }),
  devices: Type.Unsafe<{ readonly total: number } & Readonly<Partial<Record<RolloutDeviceState, number>>>>(
    Type.Object({ total: Type.Integer() }, { description: 'How many devices there are, in all and by state.' }),
  ),
  createdAt: at,
  createdBy: Type.String(),
  updatedAt: at,
});

const RolloutDetails = Type.Object({
  ...RolloutDocument.properties,
  request: RolloutRequest,
  members: Type.Array(
    Type.Object({
      device: deviceIdText,
      state: deviceState,
      reason: Type.String(),
      stratum: Type.String(),
      previousVersion: Type.Optional(versionText),
      updatedAt: at,
    }),
  ),
  stageRuns: Type.Array(
    Type.Object({
      stage: Type.Integer(),
      startedAt: at,
      decidedAt: Type.Optional(at),
      verdict: Type.Optional(Type.String({ enum: ['PASS', 'FAIL', 'INCONCLUSIVE', 'NO_DATA'] })),
      evidence: Type.Optional(Type.Unknown({ description: 'Enough to compute the verdict again, bit for bit.' })),
    }),
  ),
});

const EventDocument = Type.Object({
  id: Type.Integer(),
  at,
  kind: Type.String(),
  message: Type.String(),
  detail: Type.Record(Type.String(), Type.Unknown()),
});

const AbortRequest = Type.Object(
  { revert: Type.Boolean(), reason: Type.String({ minLength: 1, maxLength: 500 }) },
  strict,
);

/** Creating, watching and steering rollouts. */
export const rolloutRoutes =
  ({ db, engine }: { readonly db: Db; readonly engine: RolloutEngine }): FastifyPluginAsyncTypebox =>
  (app) => {
    const schema = { tags: ['rollouts'] };
    const steer = {
      config: { access: OPERATOR },
      schema: { ...schema, params, response: responses({ 200: RolloutDetails }) },
    };

    app.post(
      '/rollouts',
      {
        config: { access: OPERATOR },
        schema: { ...schema, body: RolloutRequest, response: responses({ 201: RolloutDetails }) },
      },
      async (request, reply) => {
        const created = await engine.create(request.body, actorOf(request));
        return reply.code(201).send(await showRollout(db, created));
      },
    );

    app.get(
      '/rollouts',
      { config: { access: VIEWER }, schema: { ...schema, response: responses({ 200: listOf(RolloutDocument) }) } },
      async () => ({ items: await listRollouts(db) }),
    );

    app.get(
      '/rollouts/:id',
      { config: { access: VIEWER }, schema: { ...schema, params, response: responses({ 200: RolloutDetails }) } },
      ({ params: { id: rollout } }) => showRollout(db, rollout),
    );

    app.get(
      '/rollouts/:id/events',
      {
        config: { access: VIEWER },
        schema: {
          ...schema,
          params,
          querystring: Type.Object(pageQuery, strict),
          response: responses({ 200: listOf(EventDocument) }),
        },
      },
      async ({ params: { id: rollout }, query }) => {
        await showRollout(db, rollout);
        const page = toPage(query);
        const items = await listEvents(db, rollout, page);
        const last = items.at(-1);
        return last && items.length === page.limit ? { items, next: last.id } : { items };
      },
    );

    app.post('/rollouts/:id/pause', steer, async (request) => {
      await engine.pause(request.params.id, actorOf(request));
      return showRollout(db, request.params.id);
    });

    app.post('/rollouts/:id/resume', steer, async (request) => {
      await engine.resume(request.params.id, actorOf(request));
      return showRollout(db, request.params.id);
    });

    app.post(
      '/rollouts/:id/abort',
      { config: steer.config, schema: { ...steer.schema, body: AbortRequest } },
      async (request) => {
        const { revert, reason }: Static<typeof AbortRequest> = request.body;
        await engine.abort(request.params.id, { revert, reason, by: actorOf(request) });
        return showRollout(db, request.params.id);
      },
    );
    return Promise.resolve();
  };
