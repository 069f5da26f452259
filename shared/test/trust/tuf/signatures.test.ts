import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createKeyPair, publicKeyOf } from '../../../src/trust/index.js';
import {
  encodeMetadata,
  keyFingerprint,
  parseMetadata,
  signatureOf,
  signMetadata,
  toKeySet,
  toTufKey,
  tufKeyId,
  tufSigner,
  verifyThreshold,
  type RoleKeys,
  type Timestamp,
  type TufKey,
  type TufSigner,
} from '../../../src/trust/tuf/index.js';
import { createSigner, signerOf } from '../../../src/trust/tuf/simulator/index.js';

const timestamp: Timestamp = {
  _type: 'timestamp',
  spec_version: '1.0.34',
  version: 1,
  expires: '2030-01-01T00:00:00Z',
  meta: { 'snapshot.json': { version: 1 } },
};
const keysOf = (signers: readonly TufSigner[]) => Object.fromEntries(signers.map(({ keyId, key }) => [keyId, key]));
const roleOf = (signers: readonly TufSigner[], threshold: number): RoleKeys => ({
  keyids: signers.map(({ keyId }) => keyId),
  threshold,
});

function verify(bytes: Uint8Array, role: RoleKeys, keys: Readonly<Record<string, TufKey>>): void {
  const file = parseMetadata('timestamp', bytes, { where: 'timestamp.json', maxBytes: 1 << 20 });
  verifyThreshold({ file, role, keys, where: 'timestamp.json', delegator: 'root', section: '5.4.2' });
}
const refused: unknown = expect.objectContaining({ code: 'TUF_SIGNATURES_BELOW_THRESHOLD' });

/** The order of the base point of Ed25519 (RFC 8032, section 5.1). */
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const littleEndian = (value: bigint) => Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse();
const toNumber = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);

describe('a signature counts', () => {
  it('when its key made it over the canonical form, whatever the layout of the file', () => {
    const signer = createSigner();
    const pretty = JSON.stringify(JSON.parse(Buffer.from(signMetadata(timestamp, [signer])).toString()), null, 4);
    verify(Buffer.from(pretty), roleOf([signer], 1), keysOf([signer]));
  });

  it('when it also covers attributes that this version does not know (section 4.1)', () => {
    const signer = createSigner();
    const meta = { 'snapshot.json': { version: 1, 'x-size': 7 }, 'mirrors.json': { version: 3 } };
    const unknown = { ...timestamp, meta, 'x-origin': { by: ['hand', null, true] } };
    verify(signMetadata(unknown, [signer]), roleOf([signer], 1), keysOf([signer]));
    const changed = signMetadata(unknown, [signer]).toString().replace('hand', 'HAND');
    expect(() => verify(Buffer.from(changed), roleOf([signer], 1), keysOf([signer]))).toThrow(refused);
  });

  it('once, however many ids its key is listed under', () => {
    const signer = createSigner();
    // Another attribute gives the same key another id, and both ids are right (section 4.3).
    const twin = signerOf({ ...signer.key, 'x-note': 'twin' } as TufKey, (message) => signer.sign(message));
    expect(twin.keyId).not.toBe(signer.keyId);
    const both = [signer, twin];
    const bytes = signMetadata(timestamp, both);
    verify(bytes, roleOf(both, 1), keysOf(both));
    expect(() => verify(bytes, roleOf(both, 2), keysOf(both))).toThrow(refused);
  });

  it('once, when the same key is written in upper case', () => {
    const signer = createSigner();
    const key = { ...signer.key, keyval: { public: signer.key.keyval.public.toUpperCase() } };
    const twin = signerOf(key, (message) => signer.sign(message));
    const both = [signer, twin];
    expect(() => verify(signMetadata(timestamp, both), roleOf(both, 2), keysOf(both))).toThrow(refused);
  });

  it('beside signatures that do not, as empty ones of holders who have not signed yet', () => {
    const [one, two, three] = [createSigner(), createSigner(), createSigner()];
    const signatures = [
      { keyid: one.keyId, sig: '' },
      { keyid: two.keyId, sig: 'ff'.repeat(64) },
      signatureOf(timestamp, three),
    ];
    const all = [one, two, three];
    verify(encodeMetadata({ signed: timestamp, signatures }), roleOf(all, 1), keysOf(all));
  });
});

describe('a signature does not count', () => {
  it('when it was malleated: S + L is as valid an equation, and RFC 8032, section 5.1.7, forbids it', () => {
    const signer = createSigner();
    const { keyid, sig } = signatureOf(timestamp, signer);
    const bytes = Buffer.from(sig, 'hex');
    const malleated = Buffer.concat([bytes.subarray(0, 32), littleEndian(toNumber(bytes.subarray(32)) + L)]);
    const forged = encodeMetadata({ signed: timestamp, signatures: [{ keyid, sig: malleated.toString('hex') }] });
    expect(() => verify(forged, roleOf([signer], 1), keysOf([signer]))).toThrow(refused);
  });

  it.each([
    ['has rubbish behind it', (sig: string) => `${sig}zz`],
    ['has blanks before it', (sig: string) => ` ${sig}`],
    ['is cut', (sig: string) => sig.slice(0, -2)],
    ['is one byte longer', (sig: string) => `${sig}00`],
  ])('when it %s', (_, change) => {
    const signer = createSigner();
    const { keyid, sig } = signatureOf(timestamp, signer);
    const bytes = encodeMetadata({ signed: timestamp, signatures: [{ keyid, sig: change(sig) }] });
    expect(() => verify(bytes, roleOf([signer], 1), keysOf([signer]))).toThrow(refused);
  });

  it('when the role does not list its key, or nobody has the key that the role lists', () => {
    const [one, two] = [createSigner(), createSigner()];
    const bytes = signMetadata(timestamp, [one]);
    expect(() => verify(bytes, roleOf([two], 1), keysOf([one, two]))).toThrow(refused);
    expect(() => verify(bytes, roleOf([one], 1), keysOf([two]))).toThrow(refused);
    expect(() => verify(bytes, { keyids: ['constructor', '__proto__'], threshold: 1 }, {})).toThrow(refused);
  });

  it('under a key that says that it is of another type', () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const pem = publicKey.export({ format: 'pem', type: 'spki' }).toString();
    for (const [keytype, scheme] of [
      ['ed25519', 'ed25519'],
      ['ecdsa', 'ecdsa-sha2-nistp256'],
      ['rsa', 'rsa-pkcs1v15-sha256'],
    ] as const) {
      const signer = signerOf({ keytype, scheme, keyval: { public: pem } }, (message) =>
        sign('sha256', message, privateKey),
      );
      expect(() => verify(signMetadata(timestamp, [signer]), roleOf([signer], 1), keysOf([signer]))).toThrow(refused);
    }
  });

  it.each([
    [
      'a key that names PSS as its own type',
      'rsa',
      'rsassa-pss-sha256',
      generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey,
    ],
    ['RSA of 1024 bits', 'rsa', 'rsassa-pss-sha256', generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey],
    [
      'ECDSA on another curve',
      'ecdsa',
      'ecdsa-sha2-nistp256',
      generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey,
    ],
  ] as const)('under %s', (_, keytype, scheme, publicKey) => {
    const key = { keytype, scheme, keyval: { public: publicKey.export({ format: 'pem', type: 'spki' }).toString() } };
    expect(keyFingerprint(key)).toBeUndefined();
  });

  it.each(['', '00', 'no key', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n'])(
    'under a key that cannot be read: %j',
    (material) => {
      for (const [keytype, scheme] of [
        ['ed25519', 'ed25519'],
        ['ecdsa', 'ecdsa-sha2-nistp256'],
        ['rsa', 'rsassa-pss-sha256'],
        ['constructor', 'constructor'],
      ] as const) {
        expect(keyFingerprint({ keytype, scheme, keyval: { public: material } })).toBeUndefined();
      }
    },
  );
});

describe('keys of Drover in TUF', () => {
  it('have the id that the specification gives them', () => {
    // As securesystemslib 1.4.0 computes it (compute_default_keyid).
    const key = {
      keytype: 'ed25519',
      scheme: 'ed25519',
      keyval: { public: 'edcd0a32a07dce33f7c7873aaffbff36d20ea30787574ead335eefd337e4dacd' },
    };
    expect(tufKeyId(key)).toBe('2345a90ad8d76f3677f9ad6695b0ba0b5c7b7fbf27fb0ed35fbdf7b71264a679');
  });

  it('keep their threshold as a set for envelopes, without keys of other types', () => {
    const [one, two] = [createKeyPair(), createKeyPair()];
    const signers = [tufSigner(one), tufSigner(two), createSigner('ecdsa')];
    expect(toKeySet(roleOf(signers, 2), keysOf(signers))).toEqual({
      threshold: 2,
      keys: [publicKeyOf(one), publicKeyOf(two)],
    });
    expect(toTufKey(one)).toEqual(signers[0]?.key);
  });
});
