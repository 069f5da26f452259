import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type, type Static } from 'typebox';
import type { Db } from '../database/index.js';
import { deviceDirectory, Selector } from '../devices/index.js';
import type { Director } from '../director/index.js';
import { actorOf, deviceIdText, modelNameText, OPERATOR, responses, strict, versionText } from '../http/index.js';
import { releases, releaseWithdrawn } from '../registry/index.js';

const HOUR_MS = 3_600_000;
/** What a device does not get within a week should be decided anew. */
const MAX_ORDER_TTL_MS = 7 * 24 * HOUR_MS;
/** Looked at for one answer: each order is signed and stored by itself. */
const MAX_DEVICES = 1000;

const BundleOrders = Type.Object({
  orders: Type.Array(
    Type.Object({
      deviceId: deviceIdText,
      hardwareClass: Type.String(),
      envelope: Type.String(),
      expiresAt: Type.Integer(),
    }),
  ),
  withheld: Type.Array(
    Type.Object({
      deviceId: deviceIdText,
      why: Type.Enum(['not-ordered', 'held', 'ended', 'history-lost', 'not-taken', 'revoked']),
    }),
  ),
  recovery: Type.Optional(
    Type.String({ description: 'The recovery statement in force (docs/protocol.md, section 11).' }),
  ),
  next: Type.Optional(Type.String({ description: 'There may be more devices: ask again with this as "after".' })),
});
export type BundleOrders = Static<typeof BundleOrders>;

export interface BundleDependencies {
  readonly db: Db;
  readonly director: Pick<Director, 'exportOrder'>;
  readonly recovery: { statement(): Uint8Array | undefined };
}

/** Orders to be carried to devices by hand (docs/protocol.md, section 13). What a rollout has not ordered, nobody gets this way. */
export const bundleRoutes =
  ({ db, director, recovery }: BundleDependencies): FastifyPluginAsyncTypebox =>
  (app) => {
    app.post(
      '/bundle-orders',
      {
        config: { access: OPERATOR },
        schema: {
          tags: ['bundles'],
          description: 'Signs the newest order of each device for this release anew, to be taken there on a stick.',
          body: Type.Object(
            {
              model: modelNameText,
              version: versionText,
              selector: Selector,
              ttlMs: Type.Integer({ minimum: HOUR_MS, maximum: MAX_ORDER_TTL_MS }),
              after: Type.Optional(deviceIdText),
            },
            strict,
          ),
          response: responses({ 200: BundleOrders }),
        },
      },
      async (request): Promise<BundleOrders> => {
        const { model, version, selector, ttlMs, after } = request.body;
        const { digest, withdrawnAt } = await releases(db).get(model, version);
        if (withdrawnAt !== undefined) throw releaseWithdrawn(model, version);
        const devices = await deviceDirectory(db).find(selector, {
          limit: MAX_DEVICES,
          ...(after !== undefined && { after }),
        });
        const last = devices.at(-1);
        const answer: BundleOrders = { orders: [], withheld: [] };
        for (const { id: deviceId, hardwareClass, revoked } of devices) {
          const order = revoked
            ? 'revoked'
            : await director.exportOrder({ device: deviceId, model, digest, ttlMs, by: actorOf(request) });
          if (typeof order === 'string') answer.withheld.push({ deviceId, why: order });
          else answer.orders.push({ deviceId, hardwareClass, envelope: order.envelope, expiresAt: order.expires_at });
        }
        const statement = recovery.statement();
        return {
          ...answer,
          ...(statement && { recovery: Buffer.from(statement).toString('utf8') }),
          ...(last && devices.length === MAX_DEVICES && { next: last.id }),
        };
      },
    );
    return Promise.resolve();
  };
