import { digestOf, Version } from '@drover/shared/ids';
import { createKeyPair } from '@drover/shared/trust';
import { nextRoot } from '@drover/shared/trust/ceremony';
import {
  encodeMetadata,
  expiresAtMs,
  rootFileName,
  servedFileName,
  signatureOf,
  signMetadata,
  tufSigner,
  type MetadataSignature,
  type Root,
  type Targets,
} from '@drover/shared/trust/tuf';
import type { Attack } from './attack.js';
import { refusalOfOrder, type Expected } from './refusal.js';
import {
  encoded,
  forgedOnline,
  letItLook,
  momentOf,
  overtake,
  roleFile,
  roleWith,
  serveForged,
  stolenOnlineKey,
  type ForgedFiles,
  type Moment,
} from './repository.js';
import type { AttackWorld } from './world.js';

const CONTROL_PLANE = "the control plane, with the director's key and the online keys";
const NETWORK = "the director's key, and the network between device and control plane";
const MAX_VERSION = Number.MAX_SAFE_INTEGER;

let number = 0;
/** A release that the publishers did sign, and that the device has never heard of. */
const freshRelease = (world: AttackWorld) => {
  number += 1;
  return world.publisher.publish(`2.${number}.0`, { seed: 200 + number });
};

const nextOnline = ({ timestamp, snapshot }: Moment): number =>
  Math.max(timestamp.signed.version, snapshot.signed.version) + 1;

/** With the stolen online keys, a release stands in the repository that the authors did not sign as they should. */
const unsigned = (
  name: string,
  attackerHas: string,
  version: string,
  signaturesOf: (role: Targets, world: AttackWorld) => readonly MetadataSignature[],
): Attack => ({
  name,
  attackerHas,
  async carryOut(world) {
    const manifestBytes = Buffer.from(JSON.stringify({ ...world.base.manifest, version }));
    const release = { version: Version(version), digest: digestOf(manifestBytes) };
    const moment = await momentOf(world);
    const role = roleWith(moment, { ...release, manifestBytes: manifestBytes.length });
    const online = { version: nextOnline(moment), role: role.version };
    const files = forgedOnline(moment, online, await stolenOnlineKey(world));
    files.set(roleFile(role), encodeMetadata({ signed: role, signatures: signaturesOf(role, world) }));
    serveForged(world, files);
    try {
      return await refusalOfOrder(world, release, { code: 'TUF_SIGNATURES_BELOW_THRESHOLD', section: '5.6.3' });
    } finally {
      await overtake(world, online.version);
    }
  },
});

/** A fresh release is ordered while the network serves files of before it. */
const stale = (name: string, expected: Expected, filesOf: (before: Moment, after: Moment) => ForgedFiles): Attack => ({
  name,
  attackerHas: NETWORK,
  async carryOut(world) {
    const before = await momentOf(world);
    const release = await freshRelease(world);
    serveForged(world, filesOf(before, await momentOf(world)));
    return refusalOfOrder(world, release, expected);
  },
});

/** Attacks on the metadata of the release repository, by whoever serves it to the device. */
export const metadataAttacks: readonly Attack[] = [
  unsigned("a stolen control plane without the publishers' keys", CONTROL_PLANE, '9.0.0', (role, { publisher }) =>
    publisher.authors.flatMap((author) => {
      const own = signatureOf(role, tufSigner(createKeyPair('attacker')));
      return [own, { keyid: tufSigner(author).keyId, sig: own.sig }];
    }),
  ),
  unsigned(
    'a stolen publisher key below the threshold',
    `${CONTROL_PLANE}, and one of two publisher keys`,
    '9.0.1',
    (role, { publisher }) => publisher.authors.slice(0, 1).map((author) => signatureOf(role, tufSigner(author))),
  ),
  unsigned(
    'key compromise below threshold: one key twice',
    `${CONTROL_PLANE}, and one of two publisher keys`,
    '9.0.2',
    (role, { publisher: { authors } }) => {
      const [stolen] = authors;
      if (!stolen) throw new Error('The publisher has no key.');
      const { sig } = signatureOf(role, tufSigner(stolen));
      return authors.map((author) => ({ keyid: tufSigner(author).keyId, sig }));
    },
  ),
  {
    name: "a root that names the attacker's keys",
    attackerHas: CONTROL_PLANE,
    async carryOut(world) {
      const { rootVersion } = world.victim.status().repository;
      const { signed } = await world.controlPlane.operator.get<{ signed: Root }>(
        `/api/v1/repository/metadata/${rootFileName(rootVersion)}`,
      );
      const attacker = createKeyPair('attacker');
      const holders = { keys: [attacker], threshold: 1 };
      const root = nextRoot(signed, { root: holders, targets: holders }, expiresAtMs(signed));
      serveForged(world, new Map([[rootFileName(root.version), signMetadata(root, [tufSigner(attacker)])]]));
      const release = await freshRelease(world);
      return refusalOfOrder(world, release, { code: 'TUF_SIGNATURES_BELOW_THRESHOLD', section: '5.3.4' });
    },
  },
  stale(
    'mix-and-match: the snapshot of another time',
    { code: 'TUF_MIX_AND_MATCH', section: '5.5.4' },
    (before, { snapshot }) =>
      new Map([[servedFileName('snapshot', snapshot.signed.version, true), encoded(before.snapshot)]]),
  ),
  stale(
    "mix-and-match: the model's role of another time",
    { code: 'TUF_MIX_AND_MATCH', section: '5.6.2' },
    (before, { role }) => new Map([[roleFile(role.signed), encoded(before.role)]]),
  ),
  {
    name: 'rollback: an older timestamp',
    attackerHas: NETWORK,
    async carryOut(world) {
      const { timestamp } = await momentOf(world);
      const release = await freshRelease(world);
      await letItLook(world);
      serveForged(world, new Map([['timestamp.json', encoded(timestamp)]]));
      return refusalOfOrder(world, release, { code: 'TUF_ROLLBACK', section: '5.4.3' });
    },
  },
  {
    name: "rollback: a new snapshot that lists an older version of the model's role",
    attackerHas: CONTROL_PLANE,
    async carryOut(world) {
      const release = await freshRelease(world);
      await letItLook(world);
      const moment = await momentOf(world);
      const online = { version: nextOnline(moment), role: moment.role.signed.version - 1 };
      serveForged(world, forgedOnline(moment, online, await stolenOnlineKey(world)));
      try {
        return await refusalOfOrder(world, release, { code: 'TUF_ROLLBACK', section: '5.5.5' });
      } finally {
        await overtake(world, online.version);
      }
    },
  },
  {
    name: 'indefinite freeze: the timestamp of yesterday, for ever',
    attackerHas: NETWORK,
    async carryOut(world) {
      await letItLook(world);
      const { timestamp } = await momentOf(world);
      const release = await freshRelease(world);
      serveForged(world, new Map([['timestamp.json', encoded(timestamp)]]));
      const expiredAtMs = expiresAtMs(timestamp.signed);
      world.setClocks(expiredAtMs - Date.now() + 1_000);
      const expected = { code: 'TUF_EXPIRED', section: '5.4.4' };
      const repulse = await refusalOfOrder(world, release, expected, expiredAtMs + 3_600_000);
      const { stale: said } = world.victim.status().repository;
      if (said?.code !== 'TUF_EXPIRED') throw new Error(`The device calls itself ${said?.code ?? 'fresh'}.`);
      return repulse;
    },
  },
  {
    name: 'fast-forward: a timestamp with a changed number',
    attackerHas: NETWORK,
    async carryOut(world) {
      const release = await freshRelease(world);
      const { timestamp } = await momentOf(world);
      const changed = { ...timestamp, signed: { ...timestamp.signed, version: MAX_VERSION } };
      serveForged(world, new Map([['timestamp.json', encoded(changed)]]));
      return refusalOfOrder(world, release, { code: 'TUF_SIGNATURES_BELOW_THRESHOLD', section: '5.4.2' });
    },
  },
  {
    name: 'fast-forward: the highest numbers, signed with the online keys',
    attackerHas: CONTROL_PLANE,
    async carryOut(world) {
      const moment = await momentOf(world);
      const online = { version: MAX_VERSION, role: moment.role.signed.version };
      serveForged(world, forgedOnline(moment, online, await stolenOnlineKey(world)));
      try {
        await letItLook(world);
        serveForged(world, new Map());
        const release = await freshRelease(world);
        return await refusalOfOrder(world, release, { code: 'TUF_ROLLBACK', section: '5.4.3' });
      } finally {
        // The way out: other online keys in a new root, after which devices forget the numbers (TUF 1.0, section 5.3.11).
        serveForged(world, new Map());
        await world.controlPlane.operator.send('POST', '/api/v1/repository/online-keys');
        await world.publisher.rotateOnline();
        await letItLook(world);
      }
    },
  },
];
