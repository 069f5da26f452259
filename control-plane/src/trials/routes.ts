import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { UUID_PATTERN, type TrialId } from '@drover/shared/ids';
import { ComparisonCounts, TrialMode } from '@drover/shared/protocol';
import type { Db } from '../database/index.js';
import {
  actorOf,
  deviceIdText,
  digestText,
  listOf,
  modelNameText,
  OPERATOR,
  responses,
  strict,
  versionText,
  VIEWER,
} from '../http/index.js';
import type { PooledComparison } from './pooled.js';
import { TrialRequest } from './request.js';
import type { Trials } from './trials.js';
import { listTrials, showTrial, type TrialDeviceState } from './view.js';

const id = Type.Unsafe<TrialId>(Type.String({ pattern: UUID_PATTERN }));
const params = Type.Object({ id }, strict);
const at = Type.Integer({ description: 'Milliseconds since 1970.' });
const latencies = Type.Object({ count: Type.Integer(), meanUs: Type.Number(), worstP99Us: Type.Number() });

const Comparison = Type.Unsafe<PooledComparison>(
  Type.Object({
    outcomes: ComparisonCounts.properties.outcomes,
    agreement: ComparisonCounts.properties.agreement,
    latencies: Type.Object({ active: Type.Optional(latencies), candidate: Type.Optional(latencies) }),
    latencyRatio: Type.Optional(Type.Number({ description: 'Mean latency of the candidate by that of what served.' })),
    classShift: Type.Optional(
      Type.Number({ description: 'Total variation distance of how often each class was given.' }),
    ),
    valueShift: Type.Optional(
      Type.Number({ description: 'Kolmogorov–Smirnov distance of the values of a regression, or of anomaly scores.' }),
    ),
  }),
);

const TrialDocument = Type.Object({
  id,
  model: modelNameText,
  release: Type.Object({ version: versionText, digest: digestText }),
  mode: TrialMode,
  share: Type.Number(),
  state: Type.Enum(['running', 'over']),
  until: at,
  createdAt: at,
  createdBy: Type.String(),
  endedAt: Type.Optional(at),
  endedBy: Type.Optional(Type.String()),
});

const TrialDetailsDocument = Type.Object({
  ...TrialDocument.properties,
  request: TrialRequest,
  comparison: Comparison,
  members: Type.Array(
    Type.Object({
      device: deviceIdText,
      state: Type.Unsafe<TrialDeviceState>(
        Type.String({ enum: ['waiting', 'beginning', 'running', 'over', 'failed'] }),
      ),
      error: Type.Optional(Type.Object({ code: Type.String(), what: Type.String(), remedy: Type.String() })),
      comparison: Type.Optional(Comparison),
    }),
  ),
});

export interface TrialRouteDependencies {
  readonly db: Db;
  readonly trials: Trials;
  readonly now: () => number;
}

/** Trying releases beside those that serve. */
export const trialRoutes =
  ({ db, trials, now }: TrialRouteDependencies): FastifyPluginAsyncTypebox =>
  (app) => {
    const schema = { tags: ['trials'] };
    app.post(
      '/trials',
      {
        config: { access: OPERATOR },
        schema: { ...schema, body: TrialRequest, response: responses({ 201: TrialDetailsDocument }) },
      },
      async (request, reply) => {
        const started = await trials.start(request.body, actorOf(request));
        return reply.code(201).send(details(await showTrial(db, started, now())));
      },
    );

    app.get(
      '/trials',
      { config: { access: VIEWER }, schema: { ...schema, response: responses({ 200: listOf(TrialDocument) }) } },
      async () => ({ items: await listTrials(db, now()) }),
    );

    app.get(
      '/trials/:id',
      { config: { access: VIEWER }, schema: { ...schema, params, response: responses({ 200: TrialDetailsDocument }) } },
      async ({ params: { id: trial } }) => details(await showTrial(db, trial, now())),
    );

    app.post(
      '/trials/:id/end',
      {
        config: { access: OPERATOR },
        schema: { ...schema, params, response: responses({ 200: TrialDetailsDocument }) },
      },
      async (request) => {
        await trials.end(request.params.id, actorOf(request));
        return details(await showTrial(db, request.params.id, now()));
      },
    );
    return Promise.resolve();
  };

/** The route's type knows only arrays that may be written. */
const details = ({ members, ...trial }: Awaited<ReturnType<typeof showTrial>>) => ({ ...trial, members: [...members] });
