import { verify as verifyBytes } from 'node:crypto';
import fc from 'fast-check';
import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import {
  bulkSigner,
  createKeyPair,
  decodeEnvelope,
  encodeEnvelope,
  keyPairFromSeed,
  occasionalSigner,
  parseKeyPair,
  parseKeySet,
  preAuthenticationEncoding,
  publicKeyOf,
  signEnvelope,
  TrustError,
  verifyEnvelope,
  type KeyPair,
} from '../../src/trust/index.js';
import { toVerifyKey } from '../../src/trust/keys.js';

const TYPE = 'application/vnd.drover.test+json';
const setOf = (threshold: number, ...keys: KeyPair[]) => ({ threshold, keys: keys.map(publicKeyOf) });
const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof TrustError) return error.code;
    throw error;
  }
  return 'accepted';
};

describe('when a document is signed', () => {
  it('encodes as the DSSE specification shows in its example', () => {
    // secure-systems-lab/dsse, protocol.md, "Test Vectors"
    const encoded = preAuthenticationEncoding('http://example.com/HelloWorld', Buffer.from('hello world'));
    expect(encoded.toString()).toBe('DSSEv1 29 http://example.com/HelloWorld 11 hello world');
  });

  it('reproduces RFC 8032, section 7.1, test 3, with both signers', () => {
    const key = keyPairFromSeed(Buffer.from('c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7', 'hex'));
    expect(key.publicKey).toBe('fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025');
    const expected =
      '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a';
    for (const signer of [occasionalSigner(key), bulkSigner(key)]) {
      expect(Buffer.from(signer(Buffer.from('af82', 'hex')).signature).toString('hex')).toBe(expected);
    }
  });

  it('verifies after any journey through bytes, whatever the payload', () => {
    const key = createKeyPair();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (payload) => {
        const bytes = encodeEnvelope(signEnvelope(TYPE, payload, [bulkSigner(key)]));
        const opened = verifyEnvelope(decodeEnvelope(bytes), TYPE, setOf(1, key));
        expect(new Uint8Array(opened.payload)).toEqual(payload);
        expect(opened.signedBy).toEqual([key.keyId]);
      }),
      { numRuns: 30 },
    );
  });
});

describe('when an envelope is not what it should be', () => {
  const [key, other, third] = [createKeyPair(), createKeyPair(), createKeyPair()];
  const envelope = signEnvelope(TYPE, Buffer.from('payload'), [bulkSigner(key)]);

  it('refuses any single flipped bit of the payload', () => {
    fc.assert(
      fc.property(fc.nat(6), fc.nat(7), (byte, bit) => {
        const payload = Buffer.from('payload');
        payload.writeUInt8(payload.readUInt8(byte) ^ (1 << bit), byte);
        const forged = { ...envelope, payload: payload.toString('base64') };
        expect(codeOf(() => verifyEnvelope(forged, TYPE, setOf(1, key)))).toBe('SIGNATURE_INVALID');
      }),
    );
  });

  it('refuses a signature for another kind of document', () => {
    expect(codeOf(() => verifyEnvelope(envelope, `${TYPE}2`, setOf(1, key)))).toBe('ENVELOPE_TYPE_WRONG');
    const renamed = { ...envelope, payloadType: `${TYPE}2` };
    expect(codeOf(() => verifyEnvelope(renamed, `${TYPE}2`, setOf(1, key)))).toBe('SIGNATURE_INVALID');
  });

  it('refuses a key that nobody trusts', () => {
    expect(codeOf(() => verifyEnvelope(envelope, TYPE, setOf(1, other)))).toBe('SIGNATURE_BELOW_THRESHOLD');
  });

  it('counts distinct keys towards the threshold, not signatures', () => {
    const [first] = envelope.signatures;
    if (!first) throw new Error('unreachable');
    const twice = { ...envelope, signatures: [first, first] };
    expect(codeOf(() => verifyEnvelope(twice, TYPE, setOf(2, key, other)))).toBe('SIGNATURE_BELOW_THRESHOLD');
    const both = signEnvelope(TYPE, Buffer.from('payload'), [bulkSigner(key), bulkSigner(third)]);
    expect(codeOf(() => verifyEnvelope(both, TYPE, setOf(2, key, other)))).toBe('SIGNATURE_BELOW_THRESHOLD');
    expect(codeOf(() => verifyEnvelope(both, TYPE, setOf(2, key, third)))).toBe('accepted');
  });

  it('refuses a malleated signature (S + L), which tweetnacl accepts', () => {
    const L = 2n ** 252n + 27742317777372353535851937790883648493n;
    const message = preAuthenticationEncoding(TYPE, Buffer.from('payload'));
    const signature = Buffer.from(envelope.signatures[0]?.sig ?? '', 'base64');
    const s = BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString('hex')}`) + L;
    const malleated = Buffer.concat([
      signature.subarray(0, 32),
      Buffer.from(s.toString(16).padStart(64, '0'), 'hex').reverse(),
    ]);
    expect(nacl.sign.detached.verify(message, malleated, Buffer.from(key.publicKey, 'hex'))).toBe(true);
    expect(verifyBytes(null, message, toVerifyKey(key.publicKey), malleated)).toBe(false);
    const forged = { ...envelope, signatures: [{ keyid: key.keyId, sig: malleated.toString('base64') }] };
    expect(codeOf(() => verifyEnvelope(forged, TYPE, setOf(1, key)))).toBe('SIGNATURE_INVALID');
  });

  it('reads no garbage, and never throws anything but a coded error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(codeOf(() => decodeEnvelope(Buffer.from(text)))).toBe('ENVELOPE_MALFORMED');
      }),
    );
    expect(codeOf(() => decodeEnvelope(Buffer.alloc(101), 100))).toBe('ENVELOPE_MALFORMED');
  });
});

describe('when key files are read', () => {
  it('refuses halves that do not belong together, and ids that were chosen', () => {
    const [one, two] = [createKeyPair('one'), createKeyPair('two')];
    expect(parseKeyPair(JSON.parse(JSON.stringify(one)))).toEqual(one);
    expect(codeOf(() => parseKeyPair({ ...one, seed: two.seed }))).toBe('KEY_MALFORMED');
    expect(codeOf(() => parseKeyPair({ ...one, keyId: two.keyId }))).toBe('KEY_MALFORMED');
    expect(codeOf(() => parseKeySet({ threshold: 1, keys: [{ ...publicKeyOf(one), keyId: two.keyId }] }))).toBe(
      'KEY_MALFORMED',
    );
    expect(codeOf(() => parseKeySet({ threshold: 2, keys: [publicKeyOf(one), publicKeyOf(one)] }))).toBe(
      'KEY_MALFORMED',
    );
  });
});
