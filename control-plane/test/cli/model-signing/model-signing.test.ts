import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digestOf } from '@drover/shared/ids';
import { verifyModelSignature, type TrustedSigner } from '../../../src/cli/model-signing/index.js';
import { copiedModel, ownSigner, readBundle, statementOf, vector, withRoot, written } from './signing-fixture.js';

let scratch: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'drover-bundles-'));
});
afterAll(() => rmSync(scratch, { recursive: true }));

const MODEL = vector('model/model.onnx');
const coded = (code: string) => expect.objectContaining({ code }) as Error;
const verify = (signature: string, trusted: TrustedSigner, modelFile = MODEL, folder?: string) =>
  verifyModelSignature({ modelFile, folder, signatureFile: signature }, trusted);
const byKey = (name: string): TrustedSigner => ({ keyFile: vector(name) });
const byAuthority = (name: string, identity?: string): TrustedSigner => ({ authoritiesFile: vector(name), identity });
const modelDigest = digestOf(readFileSync(MODEL));

describe('when the reference implementation signed with a key', () => {
  it.each(['p256', 'p384', 'p521'])('accepts it on %s and says who signed', async (curve) => {
    const verified = await verify(vector(`${curve}.sig`), byKey(`${curve}.pub.pem`));
    const pem = readFileSync(vector(`${curve}.pub.pem`));
    expect(verified.digest).toBe(modelDigest);
    expect(verified.signature).toMatchObject({
      bundle: digestOf(readFileSync(vector(`${curve}.sig`))),
      files: 4,
      signedBy: { method: 'key', keyId: createHash('sha256').update(pem).digest('hex') },
    });
    const { subject } = statementOf(readBundle(`${curve}.sig`));
    expect(verified.signature.root).toBe(`sha256:${subject[0]?.digest.sha256 ?? ''}`);
  });

  it('accepts a signature of the file alone', async () => {
    const verified = await verify(vector('single-file.sig'), byKey('p256.pub.pem'));
    expect([verified.digest, verified.signature.files]).toEqual([modelDigest, 1]);
    await expect(verify(vector('single-file.sig'), byKey('p256.pub.pem'), vector('model/labels.txt'))).rejects.toThrow(
      coded('MODEL_SIGNATURE_FILES_DIFFER'),
    );
  });

  it('accepts a bundle of an earlier version, which names no key, and still checks the signature', async () => {
    const bundle = readBundle('p256.sig');
    const unnamed = { ...bundle, verificationMaterial: { publicKey: {} } };
    await verify(written(scratch, 'unnamed.sig', unnamed), byKey('p256.pub.pem'));
    const other = written(scratch, 'other.pem', ownSigner().pem);
    await expect(verify(join(scratch, 'unnamed.sig'), { keyFile: other })).rejects.toThrow(
      coded('MODEL_SIGNATURE_INVALID'),
    );
  });

  it('refuses another key', async () => {
    await expect(verify(vector('p256.sig'), byKey('p384.pub.pem'))).rejects.toThrow(coded('MODEL_SIGNATURE_UNTRUSTED'));
  });

  it('refuses a statement or a signature of which one bit was changed', async () => {
    for (const part of ['payload', 'sig'] as const) {
      const bundle = readBundle('p256.sig');
      const [signature] = bundle.dsseEnvelope.signatures;
      if (!signature) throw new Error('the vector has no signature');
      const flip = (base64: string) => {
        const bytes = Buffer.from(base64, 'base64');
        bytes.writeUInt8(bytes.readUInt8(40) ^ 1, 40);
        return bytes.toString('base64');
      };
      if (part === 'payload') bundle.dsseEnvelope.payload = flip(bundle.dsseEnvelope.payload);
      else signature.sig = flip(signature.sig);
      await expect(verify(written(scratch, 'flipped.sig', bundle), byKey('p256.pub.pem'))).rejects.toThrow(
        coded('MODEL_SIGNATURE_INVALID'),
      );
    }
  });

  it('refuses key files that are no public EC key', async () => {
    const files = [
      vector('root.crt'),
      vector('model/labels.txt'),
      written(
        scratch,
        'ed25519.pem',
        Buffer.from(
          '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n',
        ),
      ),
    ];
    for (const keyFile of files) {
      await expect(verify(vector('p256.sig'), { keyFile })).rejects.toThrow(coded('MODEL_SIGNATURE_KEY_UNUSABLE'));
    }
  });
});

describe('when the reference implementation signed with a certificate', () => {
  it('accepts a path over an intermediate certificate, and names subject and issuer', async () => {
    const verified = await verify(vector('signer.sig'), byAuthority('root.crt', 'models@example.org'));
    expect(verified.signature.signedBy).toMatchObject({
      method: 'certificate',
      subject: 'O=Drover tests, CN=signer',
      issuer: 'O=Drover tests, CN=intermediate',
      identity: 'models@example.org',
    });
    expect(verified.certificateEndsAt?.getUTCFullYear()).toBeGreaterThan(2100);
  });

  it('accepts a certificate for signing code', async () => {
    await verify(vector('code-signer.sig'), byAuthority('root.crt'));
  });

  it.each(['models@example.org', 'https://example.org/models', 'signer'])('knows the identity %s', async (identity) => {
    await verify(vector('signer.sig'), byAuthority('root.crt', identity));
  });

  it.each([
    ['another authority', 'signer.sig', 'other-root.crt', undefined],
    ['another identity', 'signer.sig', 'root.crt', 'somebody@example.org'],
    ['a certificate that is not for signing', 'server.sig', 'root.crt', undefined],
    ['a path that is longer than its authority allows', 'deep.sig', 'narrow-root.crt', undefined],
    ['a path over a certificate that is no authority', 'below-no-authority.sig', 'root.crt', undefined],
    ['a critical extension that is not understood', 'constrained.sig', 'root.crt', undefined],
    ['a bare key where an authority was named', 'p256.sig', 'root.crt', undefined],
  ])('refuses %s', async (_what, signature, authority, identity) => {
    await expect(verify(vector(signature), byAuthority(authority, identity))).rejects.toThrow(
      coded('MODEL_SIGNATURE_UNTRUSTED'),
    );
  });

  it('refuses a certificate where a key was named', async () => {
    await expect(verify(vector('signer.sig'), byKey('p256.pub.pem'))).rejects.toThrow(
      coded('MODEL_SIGNATURE_UNTRUSTED'),
    );
  });

  it("refuses a chain that begins with a certificate of somebody else's", async () => {
    const bundle = {
      ...readBundle('signer.sig'),
      verificationMaterial: readBundle('code-signer.sig').verificationMaterial,
    };
    await expect(verify(written(scratch, 'borrowed.sig', bundle), byAuthority('root.crt'))).rejects.toThrow(
      coded('MODEL_SIGNATURE_INVALID'),
    );
  });

  it('refuses a file without certificates as authority', async () => {
    await expect(verify(vector('signer.sig'), byAuthority('p256.pub.pem'))).rejects.toThrow(
      coded('MODEL_SIGNATURE_KEY_UNUSABLE'),
    );
  });
});

describe('when the files are others than those that were signed', () => {
  const refusal = async (change: (file: (name: string) => string) => void, modelFile = 'model.onnx') => {
    const model = copiedModel();
    try {
      change(model.file);
      const outcome = verify(vector('p256.sig'), byKey('p256.pub.pem'), model.file(modelFile), model.folder);
      return await outcome.then(
        () => 'accepted',
        (error: unknown) => error as Error & { code: string },
      );
    } finally {
      model.remove();
    }
  };

  it.each<[string, string, (file: (name: string) => string) => void]>([
    ['one was changed', 'changed: a/b', (file) => writeFileSync(file('a/b'), 'other')],
    ['the model was changed', 'changed: model.onnx', (file) => writeFileSync(file('model.onnx'), 'other')],
    ['one is missing', 'missing: labels.txt', (file) => rmSync(file('labels.txt'))],
    ['there is one more', 'not signed: a/c', (file) => writeFileSync(file('a/c'), '')],
    ['there is a hidden one', 'not signed: .hidden', (file) => writeFileSync(file('.hidden'), '')],
    [
      'one is a link, which the signer did not allow',
      'neither file nor folder: a/b',
      (file) => {
        rmSync(file('a/b'));
        symlinkSync('/etc/hostname', file('a/b'));
      },
    ],
  ])('refuses where %s', async (_what, difference, change) => {
    const error = await refusal(change);
    expect(error).toMatchObject({
      code: 'MODEL_SIGNATURE_FILES_DIFFER',
      message: expect.stringContaining(difference) as string,
    });
  });

  it('passes over what the signer excluded, and the signature itself', async () => {
    const model = copiedModel();
    try {
      mkdirSync(model.file('.git'));
      writeFileSync(model.file('.git/HEAD'), 'ref');
      writeFileSync(model.file('.gitignore'), '');
      writeFileSync(model.file('renamed.sig'), readFileSync(vector('p256.sig')));
      await verify(model.file('renamed.sig'), byKey('p256.pub.pem'), model.file('model.onnx'));
    } finally {
      model.remove();
    }
  });

  it('refuses a signature from which its signer excluded the model itself', async () => {
    await expect(verify(vector('partial.sig'), byKey('p256.pub.pem'))).rejects.toThrow(
      coded('MODEL_SIGNATURE_FILES_DIFFER'),
    );
  });

  it('refuses a model file that lies outside of the signed folder', async () => {
    const model = copiedModel();
    try {
      await expect(
        verify(vector('p256.sig'), byKey('p256.pub.pem'), model.file('model.onnx'), vector('model')),
      ).rejects.toThrow(coded('MODEL_SIGNATURE_FILES_DIFFER'));
    } finally {
      model.remove();
    }
  });
});

describe('when a trusted key signed something else', () => {
  const original = () => statementOf(readBundle('p256.sig'));
  const verifyStatement = (statement: unknown) => {
    const signer = ownSigner();
    const keyFile = written(scratch, 'own.pem', signer.pem);
    return verify(written(scratch, 'own.sig', signer.bundleOf(statement)), { keyFile });
  };

  it('accepts the statement of the reference implementation, signed anew', async () => {
    await verifyStatement(original());
  });

  it.each<[string, string, unknown]>([
    [
      'a root digest that is not that of the files',
      'MODEL_SIGNATURE_INVALID',
      { ...original(), subject: [{ name: 'm', digest: { sha256: 'a'.repeat(64) } }] },
    ],
    [
      'a file twice',
      'MODEL_SIGNATURE_INVALID',
      withRoot({
        ...original(),
        predicate: {
          ...original().predicate,
          resources: [...original().predicate.resources, ...original().predicate.resources],
        },
      }),
    ],
    [
      'an older predicate',
      'MODEL_SIGNATURE_UNSUPPORTED',
      { ...original(), predicateType: 'https://model_signing/Digests/v0.1' },
    ],
    [
      'another kind of statement',
      'MODEL_SIGNATURE_MALFORMED',
      { ...original(), _type: 'https://in-toto.io/Statement/v0.1' },
    ],
    [
      'two subjects',
      'MODEL_SIGNATURE_MALFORMED',
      { ...original(), subject: [...original().subject, ...original().subject] },
    ],
    [
      'no files',
      'MODEL_SIGNATURE_MALFORMED',
      withRoot({ ...original(), predicate: { ...original().predicate, resources: [] } }),
    ],
    [
      'shards instead of files',
      'MODEL_SIGNATURE_UNSUPPORTED',
      {
        ...original(),
        predicate: { ...original().predicate, serialization: { method: 'shards', hash_type: 'sha256' } },
      },
    ],
    [
      'another hash',
      'MODEL_SIGNATURE_UNSUPPORTED',
      {
        ...original(),
        predicate: { ...original().predicate, serialization: { method: 'files', hash_type: 'blake3' } },
      },
    ],
    [
      'a file above the folder',
      'MODEL_SIGNATURE_FILES_DIFFER',
      withRoot({
        ...original(),
        predicate: {
          ...original().predicate,
          resources: [
            ...original().predicate.resources,
            { name: '../p256.sig', algorithm: 'sha256', digest: 'a'.repeat(64) },
          ],
        },
      }),
    ],
    ['a text', 'MODEL_SIGNATURE_MALFORMED', 'model'],
  ])('refuses %s', async (_what, code, statement) => {
    await expect(verifyStatement(statement)).rejects.toThrow(coded(code));
  });
});

describe('when the file is no bundle of these methods', () => {
  const bundle = readBundle('p256.sig');
  const certificate = readBundle('signer.sig').verificationMaterial as {
    x509CertificateChain: { certificates: unknown[] };
  };
  it.each<[string, string, unknown]>([
    ['no JSON', 'MODEL_SIGNATURE_MALFORMED', Buffer.from('{')],
    [
      'an older bundle',
      'MODEL_SIGNATURE_UNSUPPORTED',
      { ...bundle, mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.1' },
    ],
    [
      'a keyless one',
      'MODEL_SIGNATURE_UNSUPPORTED',
      { ...bundle, verificationMaterial: { certificate: certificate.x509CertificateChain.certificates[0] } },
    ],
    [
      'two kinds of signers',
      'MODEL_SIGNATURE_MALFORMED',
      { ...bundle, verificationMaterial: { ...bundle.verificationMaterial, ...certificate } },
    ],
    [
      'another payload',
      'MODEL_SIGNATURE_MALFORMED',
      { ...bundle, dsseEnvelope: { ...bundle.dsseEnvelope, payloadType: 'text/plain' } },
    ],
    [
      'two signatures',
      'MODEL_SIGNATURE_MALFORMED',
      {
        ...bundle,
        dsseEnvelope: {
          ...bundle.dsseEnvelope,
          signatures: [...bundle.dsseEnvelope.signatures, ...bundle.dsseEnvelope.signatures],
        },
      },
    ],
    ['too many bytes', 'MODEL_SIGNATURE_MALFORMED', Buffer.alloc(16 * 1024 * 1024 + 1, 0x20)],
  ])('refuses %s', async (_what, code, contents) => {
    await expect(verify(written(scratch, 'broken.sig', contents), byKey('p256.pub.pem'))).rejects.toThrow(coded(code));
  });

  it('refuses certificates that cannot be read', async () => {
    const broken = {
      ...bundle,
      verificationMaterial: { x509CertificateChain: { certificates: [{ rawBytes: 'AAAA' }] } },
    };
    await expect(verify(written(scratch, 'broken.sig', broken), byAuthority('root.crt'))).rejects.toThrow(
      coded('MODEL_SIGNATURE_MALFORMED'),
    );
  });
});
