import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { preAuthenticationEncoding } from '@drover/shared/trust';

export const VECTORS = new URL('./vectors/', import.meta.url).pathname;
export const vector = (name: string): string => join(VECTORS, name);

/** A copy of the signed folder, for tests that change it. */
export function copiedModel(): { readonly folder: string; readonly file: (name: string) => string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'drover-model-signing-'));
  cpSync(vector('model'), folder, { recursive: true });
  return { folder, file: (name) => join(folder, name), remove: () => rmSync(folder, { recursive: true }) };
}

interface Statement {
  _type: string;
  subject: { name: string; digest: { sha256: string } }[];
  predicateType: string;
  predicate: {
    serialization: Record<string, unknown>;
    resources: { name: string; algorithm: string; digest: string }[];
  };
}
interface Bundle {
  mediaType: string;
  verificationMaterial: Record<string, unknown>;
  dsseEnvelope: { payload: string; payloadType: string; signatures: { sig: string; keyid: string }[] };
}

/** A signer of our own, to sign what the reference implementation would not. */
export function ownSigner() {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = publicKey.export({ type: 'spki', format: 'pem' });
  return { pem: Buffer.from(pem), bundleOf: (statement: unknown) => signStatement(statement, privateKey, pem) };
}

function signStatement(statement: unknown, key: KeyObject, pem: string | Buffer): Bundle {
  const payload = Buffer.from(JSON.stringify(statement));
  const payloadType = 'application/vnd.in-toto+json';
  return {
    mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
    verificationMaterial: { publicKey: { hint: createHash('sha256').update(pem).digest('hex') }, tlogEntries: [] },
    dsseEnvelope: {
      payload: payload.toString('base64'),
      payloadType,
      signatures: [
        { sig: sign('sha256', preAuthenticationEncoding(payloadType, payload), key).toString('base64'), keyid: '' },
      ],
    },
  };
}

export const readBundle = (name: string): Bundle => JSON.parse(readFileSync(vector(name), 'utf8')) as Bundle;
export const statementOf = ({ dsseEnvelope }: Bundle): Statement =>
  JSON.parse(Buffer.from(dsseEnvelope.payload, 'base64').toString('utf8')) as Statement;

/** The statement with the root digest that belongs to its resources. */
export function withRoot(statement: Statement): Statement {
  const root = createHash('sha256');
  for (const { digest } of statement.predicate.resources) root.update(Buffer.from(digest, 'hex'));
  return { ...statement, subject: [{ name: 'model', digest: { sha256: root.digest('hex') } }] };
}

/** A statement about one file. */
export const statementAbout = (name: string, bytes: Uint8Array): Statement =>
  withRoot({
    _type: 'https://in-toto.io/Statement/v1',
    subject: [],
    predicateType: 'https://model_signing/signature/v1.0',
    predicate: {
      serialization: { method: 'files', hash_type: 'sha256', allow_symlinks: false },
      resources: [{ name, algorithm: 'sha256', digest: createHash('sha256').update(bytes).digest('hex') }],
    },
  });

export function written(folder: string, name: string, contents: unknown): string {
  const file = join(folder, name);
  writeFileSync(file, contents instanceof Uint8Array ? contents : JSON.stringify(contents));
  return file;
}
