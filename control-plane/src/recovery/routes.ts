import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { Envelope, encodeEnvelope, KeySet } from '@drover/shared/trust';
import { actorOf, ADMIN, responses, VIEWER } from '../http/index.js';
import type { Recovery } from './recovery.js';

const RecoveryDocument = Type.Object({
  epoch: Type.Integer(),
  pending: Type.Optional(Type.Object({ reason: Type.String(), begunAt: Type.Integer() })),
  next: Type.Object({ epoch: Type.Integer(), director: KeySet }),
});

export interface RecoveryRouteDependencies {
  readonly recovery: Recovery;
  /** Devices that are listening learn of a new epoch at once; the others when they subscribe. */
  readonly onInstalled: () => Promise<void>;
}

export const recoveryRoutes =
  ({ recovery, onInstalled }: RecoveryRouteDependencies): FastifyPluginAsyncTypebox =>
  (app) => {
    app.get(
      '/recovery',
      { config: { access: VIEWER }, schema: { tags: ['recovery'], response: responses({ 200: RecoveryDocument }) } },
      () => recovery.view(),
    );

    app.put(
      '/recovery/statement',
      {
        config: { access: ADMIN },
        schema: { tags: ['recovery'], body: Envelope, response: responses({ 200: RecoveryDocument }) },
      },
      async (request) => {
        await recovery.install(encodeEnvelope(request.body), actorOf(request));
        await onInstalled();
        return recovery.view();
      },
    );
    return Promise.resolve();
  };
