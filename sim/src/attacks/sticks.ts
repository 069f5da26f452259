import {
  blobEntry,
  BUNDLE_FORMAT,
  metadataEntry,
  orderEntry,
  packBundle,
  type BundleEntry,
} from '@drover/shared/bundle';
import { DeviceId, digestOf } from '@drover/shared/ids';
import { signDeployment } from '@drover/shared/protocol';
import { bulkSigner } from '@drover/shared/trust';
import type { Attack } from './attack.js';
import { refusalOf } from './refusal.js';
import { MODEL, type AttackWorld } from './world.js';

type Files = readonly (readonly [name: string, content: Uint8Array])[];

/** Metadata that held once, and bytes that are no release: enough for a device to look at. */
const honest = ({ oldMetadata }: AttackWorld): Files => [
  ...[...oldMetadata].map(([name, bytes]) => [metadataEntry(name), bytes] as const),
  [blobEntry(digestOf(PAYLOAD)), PAYLOAD],
];
const PAYLOAD = Buffer.alloc(10_000, 'weights ');

/** A bundle of these files, whose table of contents the attacker may have changed. */
function bundleOf(
  world: AttackWorld,
  files: Files,
  change: (entries: BundleEntry[]) => BundleEntry[] = (e) => e,
): Buffer {
  const { version, digest } = world.base;
  const entries = files.map(([name, content]) => ({ name, bytes: content.length, digest: digestOf(content) }));
  const release = { model: MODEL, version, digest };
  return packBundle({ format: BUNDLE_FORMAT, createdAt: 0, release, entries: change(entries) }, files);
}

/** The device refuses the whole bundle, and tells it. */
const refusedBundle = (name: string, code: string, make: (world: AttackWorld) => Buffer): Attack => ({
  name,
  attackerHas: 'the stick',
  async carryOut(world) {
    const watch = await world.watch();
    await world.bring(make(world));
    const found = await watch.incident('BUNDLE_');
    if (found !== code) throw new Error(`The bundle was refused as ${found}, not as ${code}.`);
    return { code, seenIn: 'incident report' };
  },
});

/** Attacks by whoever has the stick on its way. */
export const stickAttacks: readonly Attack[] = [
  refusedBundle('stick: a file swapped for another', 'BUNDLE_DAMAGED', (world) => {
    const bundle = bundleOf(world, honest(world));
    bundle.fill('malware ', bundle.indexOf(PAYLOAD), bundle.indexOf(PAYLOAD) + PAYLOAD.length);
    return bundle;
  }),
  refusedBundle('stick: a file swapped, and its digest with it', 'BUNDLE_MALFORMED', (world) => {
    const swapped = Buffer.alloc(PAYLOAD.length, 'malware ');
    const files = honest(world).map(([name, content]) => [name, content === PAYLOAD ? swapped : content] as const);
    return bundleOf(world, files);
  }),
  refusedBundle('stick: a path out of the folder', 'BUNDLE_MALFORMED', (world) => {
    const [first = ['', PAYLOAD], ...rest] = honest(world);
    return bundleOf(world, [['a/../../../../etc/cron.d/x', first[1]], ...rest]);
  }),
  {
    name: 'stick: an order for another device',
    attackerHas: "the stick, and another device's order",
    carryOut: (world) =>
      refusalOf(
        world,
        () => {
          const order = world.forgeOrder(world.base, { deviceId: DeviceId('stolen') });
          const signed = signDeployment(order, bulkSigner(world.directorKey));
          return world.bring(bundleOf(world, [...honest(world), [orderEntry(world.victim.id), signed]]));
        },
        { code: 'DEPLOYMENT_WRONG_DEVICE' },
      ),
  },
];
