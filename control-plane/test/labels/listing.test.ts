import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceId, newLabelRequestId } from '@drover/shared/ids';
import type { ListedLabelRequest } from '@drover/shared/protocol';
import { hashSecret } from '../../src/governance/index.js';
import { listLabelRequests, pruneLabels, type LabelRequestQuery } from '../../src/labels/index.js';
import { storeLabelListing } from '../../src/labels/store-listing.js';
import { createWorld, MODEL, type Release, type ScriptedDevice, type World } from '../rollouts/world.js';
import { list, request, tell } from './labelled-device.js';

const HOUR_MS = 3_600_000;

describe('requests for labels that devices list', () => {
  let world: World;
  let release: Release;
  let alpha: ScriptedDevice;
  let beta: ScriptedDevice;

  beforeEach(async () => {
    world = await createWorld();
    release = await world.publish('1.0.0', {
      task: { type: 'classification', scores: 'y', labels: ['calm', 'leak', 'fire', 'flood'] },
    });
    alpha = await world.device('alpha', 'a');
    beta = await world.device('beta', 'b');
  });
  afterEach(() => world.close());

  const open = (query: Partial<LabelRequestQuery> = {}) =>
    listLabelRequests(world.db, { state: 'open', after: 0, limit: 100, nowMs: world.clock.nowMs, ...query });
  const ids = async (query: Partial<LabelRequestQuery> = {}) => (await open(query)).map(({ id }) => id);

  it('when they are described, are kept with the names of their classes', async () => {
    const one = request(world, release, { features: [1, null] });
    await list(alpha, one);
    expect(await open()).toMatchObject([
      {
        id: one.id,
        deviceId: 'alpha',
        site: 'a',
        model: MODEL,
        version: '1.0.0',
        requestId: 'frame 17',
        prediction: { index: 1, name: 'leak' },
        confidence: 0.5,
        features: [1, null],
        expiresAt: world.clock.nowMs + HOUR_MS,
      },
    ]);
  });

  it('when they are asked for by model, device, site or reason, are those alone, a page at a time', async () => {
    const [one, two, three] = [
      request(world, release),
      request(world, release, { reason: 'targeted' }),
      request(world, release),
    ] as const;
    await list(alpha, one, two);
    await list(beta, three);
    expect(await ids({ device: beta.id })).toEqual([three.id]);
    expect(await ids({ site: 'a' })).toEqual([one.id, two.id]);
    expect(await ids({ reason: 'targeted', model: MODEL })).toEqual([two.id]);
    const [first] = await open({ limit: 1 });
    expect(await ids({ after: first?.number ?? 0, limit: 1 })).toEqual([two.id]);
  });

  it('when the device lists one no more, forgets it; one that is listed again without a description stays', async () => {
    const [one, two] = [request(world, release), request(world, release)] as const;
    await list(alpha, one, two);
    await tell(alpha, { open: [two.id, newLabelRequestId()], described: [] });
    expect(await ids()).toEqual([two.id]);
    await tell(alpha, { open: [], described: [] });
    expect(await ids()).toEqual([]);
  });

  it('when it was described with features, keeps them over a description without', async () => {
    const one = request(world, release, { features: [7] });
    await list(alpha, one);
    const { features: _features, ...bare } = one;
    await list(alpha, { ...bare, expiresAt: one.expiresAt + HOUR_MS });
    expect(await open()).toMatchObject([{ features: [7], expiresAt: world.clock.nowMs + 2 * HOUR_MS }]);
  });

  it('when another device lists an id that is taken, changes nothing', async () => {
    const one = request(world, release);
    await list(alpha, one);
    await list(beta, { ...one, row: 9 });
    await tell(beta, { open: [], described: [] });
    expect(await open()).toMatchObject([{ id: one.id, deviceId: 'alpha', row: 0 }]);
  });

  it("when the device's clock is wrong, lasts as long as the device says all the same", async () => {
    const atMs = 5_000;
    const one = request(world, release, { requestedAt: 1, servedAt: 1, expiresAt: atMs + HOUR_MS });
    await world.db
      .transaction()
      .execute((trx) =>
        storeLabelListing(
          trx,
          { open: [one.id], described: [one] },
          { deviceId: alpha.id, sequence: 1, at: atMs, receivedAt: world.clock.nowMs },
        ),
      );
    expect(await open()).toMatchObject([{ expiresAt: world.clock.nowMs + HOUR_MS }]);
  });

  it('when its time is over, or its device revoked, is shown no more and pruned', async () => {
    const one = request(world, release);
    await list(alpha, one);
    await list(beta, request(world, release, { expiresAt: world.clock.nowMs + 9 * HOUR_MS }));
    expect(await ids({ nowMs: world.clock.nowMs + HOUR_MS, device: alpha.id })).toEqual([]);
    await world.db.updateTable('devices').set({ revoked_at: 1 }).where('id', '=', beta.id).execute();
    expect(await ids()).toEqual([one.id]);
    await pruneLabels(world.db, world.clock.nowMs);
    await pruneLabels(world.db, world.clock.nowMs + HOUR_MS);
    expect(await world.db.selectFrom('label_requests').selectAll().execute()).toEqual([]);
  });

  it('when there are more than are kept, the oldest go', async () => {
    const three = [1, 2, 3].map(() => request(world, release));
    await list(alpha, ...three);
    await pruneLabels(world.db, world.clock.nowMs, 2);
    expect(await ids()).toEqual(three.slice(1).map(({ id }) => id));
  });

  it('in whatever order its reports come, and however often, the newest decides what waits', async () => {
    const pool = Array.from({ length: 8 }, () => request(world, release));
    let device = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.subarray(pool), { minLength: 1, maxLength: 5 }),
        fc.infiniteStream(fc.nat()),
        async (listings, picks) => {
          const deviceId = DeviceId(`device-${++device}`);
          await world.db
            .insertInto('devices')
            .values({
              id: deviceId,
              public_key: '',
              key_id: '0'.repeat(64) as never,
              credential_hash: hashSecret(deviceId),
              hardware_class: 'cpu',
              agent_version: '0.1.0',
              enrolled_at: 0,
              last_seen_at: null,
              connected: 0,
              revoked_at: null,
              revoked_by: null,
              revocation_reason: null,
            })
            .execute();
          const own = new Map<string, ListedLabelRequest>(
            pool.map((each) => [each.id, { ...each, id: newLabelRequestId() }]),
          );
          const reports = listings.map((described, index) => ({
            described: described.flatMap(({ id }) => own.get(id) ?? []),
            sequence: index + 1,
          }));
          // Each at least once, in any order; the newest among them.
          const delivered = [...reports, ...reports].sort(() => (picks.next().value % 2 === 0 ? 1 : -1));
          for (const { described, sequence } of delivered) {
            await world.db
              .transaction()
              .execute((trx) =>
                storeLabelListing(
                  trx,
                  { open: described.map(({ id }) => id), described },
                  { deviceId, sequence, at: 1_000 + sequence, receivedAt: world.clock.nowMs },
                ),
              );
          }
          const waiting = (await ids({ device: deviceId, nowMs: 0 })).sort();
          expect(waiting).toEqual((reports.at(-1)?.described.map(({ id }) => id) ?? []).sort());
        },
      ),
      { numRuns: 25 },
    );
  });
});
