import { Type, type Static } from 'typebox';
import { formatProblems, validate } from '../../validation/index.js';
import { TrustError } from '../errors.js';
import { keyIdOf } from '../keys.js';
import { MetadataSignature, TufKey } from '../tuf/documents.js';
import {
  encodeMetadata,
  parseMetadata,
  signatureOf,
  TufError,
  verifyThreshold,
  type MetadataFile,
  type RoleKeys,
  type Root,
  type Targets,
  type TufSigner,
} from '../tuf/index.js';
import { delegationOf } from './documents.js';

const strict = { additionalProperties: false } as const;

/** Keys of which some have to sign, and who says so. */
const RequiredSigners = Type.Object(
  {
    delegator: Type.String({ minLength: 1, maxLength: 200 }),
    threshold: Type.Integer({ minimum: 1, maximum: 1024 }),
    keyids: Type.Array(Type.String({ maxLength: 256 }), { maxItems: 256 }),
    keys: Type.Unsafe<Readonly<Record<string, TufKey>>>(Type.Object({}, { additionalProperties: TufKey })),
  },
  strict,
);
export type RequiredSigners = Static<typeof RequiredSigners>;

const ProposedDocument = Type.Object(
  {
    role: Type.String({ minLength: 1, maxLength: 64 }),
    signed: Type.Unsafe<Root | Targets>(Type.Object({ _type: Type.Enum(['root', 'targets']) })),
    signatures: Type.Array(MetadataSignature, { maxItems: 256 }),
    signers: Type.Array(RequiredSigners, { minItems: 1, maxItems: 2 }),
  },
  strict,
);
export type ProposedDocument = Static<typeof ProposedDocument>;

/**
 * Documents that are published together, on their way from one signer to the next as one file. What it says about who has to sign is for people:
 * the control plane and every device go by the metadata that they trust already.
 */
export const Proposal = Type.Object(
  {
    format: Type.Literal('drover.proposal/1'),
    documents: Type.Array(ProposedDocument, { minItems: 1, maxItems: 100 }),
  },
  strict,
);
export type Proposal = Static<typeof Proposal>;

const MAX_DOCUMENT_BYTES = 2 * 1024 * 1024;

export const proposalOf = (documents: readonly Omit<ProposedDocument, 'signatures'>[]): Proposal => ({
  format: 'drover.proposal/1',
  documents: documents.map((document) => ({ ...document, signatures: [] })),
});

/** Every document is read as strictly as a device would. @throws TrustError PROPOSAL_MALFORMED; TufError TUF_MALFORMED */
export function parseProposal(json: unknown): Proposal {
  const proposal = validate(
    Proposal,
    json,
    (problems) =>
      new TrustError('PROPOSAL_MALFORMED', `This is no file of documents to sign: ${formatProblems(problems)}.`, {
        remedy: 'Take the file that `drover keys init`, `delegate`, `rotate` or `model publish` wrote, whole.',
      }),
  );
  for (const document of proposal.documents) toMetadataFile(document);
  return proposal;
}

/** @throws TufError TUF_MALFORMED, TUF_TOO_LARGE */
export function toMetadataFile({
  role,
  signed,
  signatures,
}: Omit<ProposedDocument, 'signers'>): MetadataFile<'root' | 'targets'> {
  return parseMetadata(signed._type, encodeMetadata({ signed, signatures }), {
    where: `${role}.json`,
    maxBytes: MAX_DOCUMENT_BYTES,
  });
}

const signersOf = (delegator: string, role: RoleKeys, keys: Readonly<Record<string, TufKey>>): RequiredSigners => ({
  delegator,
  threshold: role.threshold,
  keyids: [...role.keyids],
  keys: Object.fromEntries(Object.entries(keys).filter(([keyId]) => role.keyids.includes(keyId))),
});

/** TUF 1.0, section 5.3.4: a new root is signed by the old keys and by the new ones. */
export const rootSigners = (next: Root, current: Root | undefined): RequiredSigners[] => [
  ...(current ? [signersOf(`root version ${current.version}`, current.roles.root, current.keys)] : []),
  signersOf(`root version ${next.version}`, next.roles.root, next.keys),
];

export const targetsSigners = (root: Root): RequiredSigners[] => [
  signersOf(`root version ${root.version}`, root.roles.targets, root.keys),
];

export function modelSigners(targets: Targets, model: string): RequiredSigners[] {
  const delegation = delegationOf(targets, model);
  return delegation
    ? [signersOf(`targets version ${targets.version}`, delegation, targets.delegations?.keys ?? {})]
    : [];
}

/** Signs each document that asks for this key. @returns the roles that were signed */
export function addSignature(proposal: Proposal, signer: TufSigner): { proposal: Proposal; roles: readonly string[] } {
  const roles: string[] = [];
  const documents = proposal.documents.map((document) => {
    if (!document.signers.some(({ keyids }) => keyids.includes(signer.keyId))) return document;
    roles.push(document.role);
    const others = document.signatures.filter(({ keyid }) => keyid !== signer.keyId);
    return { ...document, signatures: [...others, signatureOf(document.signed, signer)] };
  });
  return { proposal: { ...proposal, documents }, roles };
}

/** The key ids of a role whose signatures hold. */
export function signedByHolders(
  file: Pick<MetadataFile, 'signed' | 'signatures'>,
  keyids: readonly string[],
  keys: Readonly<Record<string, TufKey>>,
): string[] {
  return keyids.filter((keyId) => {
    try {
      const role = { keyids: [keyId], threshold: 1 };
      verifyThreshold({ file, role, keys, where: 'the document', delegator: keyId, section: '5.3.4' });
      return true;
    } catch (error) {
      if (error instanceof TufError) return false;
      throw error;
    }
  });
}

export interface MissingSignatures {
  readonly role: string;
  readonly delegator: string;
  readonly threshold: number;
  readonly signedBy: readonly string[];
  /** Those who have not signed yet, by the ids that `drover keys` shows. */
  readonly open: readonly string[];
  readonly missing: number;
}

/** What has to be signed still, by the proposal's own account. */
export function signaturesMissing({ documents }: Proposal): MissingSignatures[] {
  return documents.flatMap((document) =>
    document.signers.map(({ delegator, threshold, keyids, keys }) => {
      const signed = signedByHolders(document, keyids, keys);
      const shown = (ids: readonly string[]) => ids.map((keyId) => shownKeyId(keys[keyId], keyId));
      return {
        role: document.role,
        delegator,
        threshold,
        signedBy: shown(signed),
        open: shown(keyids.filter((keyId) => !signed.includes(keyId))),
        missing: Math.max(0, threshold - signed.length),
      };
    }),
  );
}

/** People know a key by the id in its file (docs/protocol.md, section 2), not by the one that TUF gives it. */
const shownKeyId = (key: TufKey | undefined, tufId: string): string =>
  key?.keytype === 'ed25519' ? keyIdOf(key.keyval.public) : tufId;
