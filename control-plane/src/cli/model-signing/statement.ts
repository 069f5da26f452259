import { createHash } from 'node:crypto';
import { Type } from 'typebox';
import type { Digest } from '@drover/shared/ids';
import { formatProblems, parseJsonBytes, validate } from '@drover/shared/validation';
import { malformed, ModelSignatureError, unsupported } from './errors.js';

const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';
export const PREDICATE_TYPE = 'https://model_signing/signature/v1.0';

const sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' });
const Head = Type.Object({ _type: Type.String(), predicateType: Type.String() });
const Serialization = Type.Object({ method: Type.String(), hash_type: Type.String() });
/** in-toto Statement v1 with the predicate of sigstore/model-transparency, `_signing/signing.py`; other fields are to be ignored. */
const Statement = Type.Object({
  subject: Type.Array(Type.Object({ name: Type.String({ maxLength: 1000 }), digest: Type.Object({ sha256 }) }), {
    minItems: 1,
    maxItems: 1,
  }),
  predicate: Type.Object({
    serialization: Type.Object({
      allow_symlinks: Type.Optional(Type.Boolean()),
      ignore_paths: Type.Optional(Type.Array(Type.String({ maxLength: 4096 }), { maxItems: 10_000 })),
    }),
    resources: Type.Array(
      Type.Object({
        name: Type.String({ minLength: 1, maxLength: 4096 }),
        algorithm: Type.Literal('sha256'),
        digest: sha256,
      }),
      { minItems: 1, maxItems: 100_000 },
    ),
  }),
});
const WithSerialization = Type.Object({ predicate: Type.Object({ serialization: Serialization }) });

/** What a signer vouches for: the files of a model and their digests. */
export interface SignedModel {
  /** Name of the folder or file at the signer's; only informative. */
  readonly name: string;
  /** SHA-256 over the digests of all files in the order of the statement. */
  readonly root: Digest;
  /** Hex SHA-256 by path below the model's folder; the path is `.` where the model is a single file. */
  readonly files: ReadonlyMap<string, string>;
  readonly ignoredPaths: readonly string[];
  readonly allowsLinks: boolean;
}

/**
 * Reads the payload of a bundle whose signature has been verified.
 *
 * @throws ModelSignatureError MODEL_SIGNATURE_MALFORMED, MODEL_SIGNATURE_UNSUPPORTED, MODEL_SIGNATURE_INVALID
 */
export function parseStatement(payload: Uint8Array): SignedModel {
  const json = parseJsonBytes(payload, malformed);
  checkKind(json);
  const { subject, predicate } = validate(Statement, json, (problems) => malformed(formatProblems(problems)));
  const files = new Map<string, string>();
  const root = createHash('sha256');
  for (const { name, digest } of predicate.resources) {
    if (files.has(name)) throw contradiction(`it names the file "${name}" twice`);
    files.set(name, digest);
    root.update(Buffer.from(digest, 'hex'));
  }
  const found = root.digest('hex');
  const [{ name, digest } = { name: '', digest: { sha256: '' } }] = subject;
  if (found !== digest.sha256) throw contradiction(`its files hash to ${found}, and it says ${digest.sha256}`);
  return {
    name,
    root: `sha256:${found}` as Digest,
    files,
    ignoredPaths: predicate.serialization.ignore_paths ?? [],
    allowsLinks: predicate.serialization.allow_symlinks ?? false,
  };
}

function checkKind(json: unknown): void {
  const head = validate(Head, json, (problems) => malformed(formatProblems(problems)));
  if (head._type !== STATEMENT_TYPE) throw malformed(`it is no in-toto Statement v1 but "${head._type.slice(0, 100)}"`);
  if (head.predicateType !== PREDICATE_TYPE)
    throw unsupported(`The statement has the predicate "${head.predicateType.slice(0, 100)}", not ${PREDICATE_TYPE}.`);
  const { method, hash_type: hash } = validate(WithSerialization, json, (problems) =>
    malformed(formatProblems(problems)),
  ).predicate.serialization;
  if (method !== 'files' || hash !== 'sha256')
    throw unsupported(`The model was hashed by "${method.slice(0, 50)}" with "${hash.slice(0, 50)}".`);
}

const contradiction = (why: string) =>
  new ModelSignatureError('MODEL_SIGNATURE_INVALID', `The signed statement contradicts itself: ${why}.`, {
    remedy: 'Sign the model again with the current version of `model_signing`.',
  });
