import { decodeEnvelope, encodeEnvelope, createKeyPair } from '@drover/shared/trust';
import { signDeployment, type Deployment } from '@drover/shared/protocol';
import { DeviceId } from '@drover/shared/ids';
import { bulkSigner } from '@drover/shared/trust';
import type { Attack } from './attack.js';
import { refusalOf } from './refusal.js';
import type { AttackWorld } from './world.js';

/** Order of the group of Ed25519, little-endian (RFC 8032, section 5.1). */
const GROUP_ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;

const forged = (
  name: string,
  code: string,
  orderOf: (world: AttackWorld) => Deployment | Buffer,
  attackerHas = "the director's key and the broker",
): Attack => ({
  name,
  attackerHas,
  carryOut: (world) => refusalOf(world, () => world.sendOrder(orderOf(world)), { code }),
});

/** Attacks with orders that the device reads from its topic. */
export const orderAttacks: readonly Attack[] = [
  {
    name: 'replayed deployment',
    attackerHas: 'the broker',
    carryOut: (world) => {
      const [first] = world.orders;
      if (!first) throw new Error('No order was overheard.');
      return refusalOf(world, () => world.sendOrder(first), { code: 'DEPLOYMENT_REPLAYED' });
    },
  },
  forged('rollback: an older release without a grant', 'DEPLOYMENT_ROLLBACK_REFUSED', (world) =>
    world.forgeOrder(world.older),
  ),
  forged('rollback: a grant below the revert floor of the publishers', 'DEPLOYMENT_BELOW_REVERT_FLOOR', (world) => {
    const [from, to] = [world.base, world.older].map(({ version, digest }) => ({ version, digest }));
    if (!from || !to) throw new Error('unreachable');
    const expiresAt = Date.now() + 3_600_000;
    return world.forgeOrder(world.older, { downgrade: { from, to, reason: 'attack', expiresAt, cohort: 'all' } });
  }),
  forged('wrong hardware', 'DEPLOYMENT_WRONG_HARDWARE', (world) =>
    world.forgeOrder(world.base, { hardwareClass: 'another' }),
  ),
  forged('an order for another device', 'DEPLOYMENT_WRONG_DEVICE', (world) =>
    world.forgeOrder(world.base, { deviceId: DeviceId('stolen') }),
  ),
  forged('an expired order', 'DEPLOYMENT_EXPIRED', (world) =>
    world.forgeOrder(world.base, { issuedAt: 1_000, expiresAt: 2_000 }),
  ),
  {
    name: "an order by a key that is not the director's",
    attackerHas: 'the broker',
    carryOut: (world) =>
      refusalOf(world, () => world.sendOrder(world.forgeOrder(world.base), createKeyPair('attacker')), {
        code: 'SIGNATURE_BELOW_THRESHOLD',
      }),
  },
  forged(
    'a malleated signature',
    'SIGNATURE_INVALID',
    (world) => malleated(signDeployment(world.forgeOrder(world.base), bulkSigner(world.directorKey))),
    'the broker',
  ),
];

/** Adds the group order to S: the same equation holds, and a reader that does not check the range takes it (RFC 8032, section 5.1.7). */
function malleated(order: Buffer): Buffer {
  const envelope = decodeEnvelope(order);
  const [signature] = envelope.signatures;
  if (!signature) throw new Error('The order has no signature.');
  const bytes = Buffer.from(signature.sig, 'base64');
  let s = 0n;
  for (let index = 63; index >= 32; index -= 1) s = (s << 8n) | BigInt(bytes.readUInt8(index));
  s += GROUP_ORDER;
  for (let index = 32; index < 64; index += 1) {
    bytes.writeUInt8(Number(s & 0xffn), index);
    s >>= 8n;
  }
  return encodeEnvelope({ ...envelope, signatures: [{ ...signature, sig: bytes.toString('base64') }] });
}
