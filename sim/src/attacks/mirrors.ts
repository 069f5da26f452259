import type { Attack } from './attack.js';
import type { MirrorAnswer } from './hostile-mirror.js';
import { encoded, letItLook, momentOf } from './repository.js';
import type { AttackWorld } from './world.js';

const METADATA = /\/device\/metadata\/(.+)$/;
const HOUR_MS = 3_600_000;

let number = 0;
/** A release that the victim has never seen a byte of; numbered apart from those of other attacks. */
const freshRelease = (world: AttackWorld) => {
  number += 1;
  return world.publisher.publish(`1.${500 + number}.0`, { seed: 500 + number });
};

/**
 * The mirror lies about content. The victim has to end with the true release all the same, and to say who lied; then it is sent back to the base by a signed
 * order. A mirror rests after it was caught, so each attack has one of its own.
 */
const lyingMirror = (name: string, position: number, answer: MirrorAnswer): Attack => ({
  name,
  attackerHas: 'the mirror of the site',
  async carryOut(world) {
    const watch = await world.watch();
    const release = await freshRelease(world);
    world.mirrors[position]?.turn((path, response) => {
      if (METADATA.test(path)) response.writeHead(404).end();
      else answer(path, response);
    });
    await world.rollOut(release.version);
    const code = await watch.incident('MIRROR_');
    await world.until('the true release to serve', async () =>
      (await world.publisher.infer(world.victim.endpoint())) === release.answer ? true : undefined,
    );
    await world.until('the victim to be idle', () =>
      world.victim.status().models.every(({ update }) => update.state === 'idle') ? true : undefined,
    );
    const [from, to] = [release, world.base].map(({ version, digest }) => ({ version, digest }));
    if (!from || !to) throw new Error('unreachable');
    const expiresAt = Date.now() + HOUR_MS;
    await world.sendOrder(
      world.forgeOrder(world.base, { downgrade: { from, to, reason: 'back', expiresAt, cohort: 'all' } }),
    );
    await world.until('the base release to serve', async () =>
      (await world.publisher.infer(world.victim.endpoint())) === world.base.answer ? true : undefined,
    );
    if (code !== 'MIRROR_WRONG') throw new Error(`The mirror was passed over as ${code}, not as MIRROR_WRONG.`);
    return { code, seenIn: 'incident report' };
  },
});

/** Attacks by whoever holds the mirror of a site. */
export const mirrorAttacks: readonly Attack[] = [
  lyingMirror('mirror: other bytes under the name of a file', 0, (_path, response) =>
    response.writeHead(200).end(Buffer.alloc(3_000, 0x5a)),
  ),
  lyingMirror('mirror: data that never ends', 1, (_path, response) => {
    response.writeHead(200);
    const pour = (): void => {
      if (!response.destroyed) response.write(Buffer.alloc(65_536, 1), () => setImmediate(pour));
    };
    pour();
  }),
  {
    name: 'mirror: old metadata while the control plane is cut off',
    attackerHas: 'the mirror of the site, and the network between device and control plane',
    async carryOut(world) {
      // Signed by the keys of now, whatever other attacks have made the publishers rotate: it is old, and nothing else is wrong with it.
      const { timestamp } = await momentOf(world);
      await world.publisher.renew();
      await letItLook(world);
      const watch = await world.watch();
      const release = await freshRelease(world);
      world.mirrors[2]?.turn((path, response) => {
        const isAsked = METADATA.exec(path)?.[1] === 'timestamp.json';
        response.writeHead(isAsked ? 200 : 404).end(isAsked ? encoded(timestamp) : undefined);
      });
      world.proxy.turn(METADATA, (request) => request.socket.destroy());
      await world.rollOut(release.version);
      const code = await watch.incident('MIRROR_');
      await world.assertServesBase();
      // The update waits for the control plane; the operator wants something else.
      await world.sendOrder(world.forgeOrder(world.base));
      const end = await watch.failure(release.digest);
      if (code !== 'MIRROR_STALE' || end !== 'UPDATE_SUPERSEDED')
        throw new Error(`The mirror was passed over as ${code}, and the update ended with ${end}.`);
      return { code, seenIn: 'incident report' };
    },
  },
];
