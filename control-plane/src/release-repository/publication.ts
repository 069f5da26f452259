import type { ModelName } from '@drover/shared/ids';
import { delegationOf, signedByHolders } from '@drover/shared/trust/ceremony';
import {
  DEFAULT_LIMITS,
  encodeMetadata,
  expiresAtMs,
  metadataFileName,
  parseMetadata,
  verifyThreshold,
  type MetadataFile,
  type MetadataSignature,
  type Root,
  type RoleKeys,
  type Targets,
  type TufKey,
} from '@drover/shared/trust/tuf';
import { RepositoryError, repositoryMissing } from './errors.js';
import { verifyModelRoleForm, verifyRootForm, verifyTargetsForm } from './form.js';
import type { CurrentMetadata } from './metadata-files.js';

/** One document as a publisher sends it. */
export interface SentDocument {
  /** `root`, `targets` or the name of a model. */
  readonly role: string;
  readonly signed: object;
  readonly signatures: readonly MetadataSignature[];
}

export interface Publication {
  readonly roots: readonly MetadataFile<'root'>[];
  readonly targets?: MetadataFile<'targets'>;
  readonly models: ReadonlyMap<ModelName, MetadataFile<'targets'>>;
  /** What is in force once it is stored. */
  readonly root: Root;
}

type Base = Pick<CurrentMetadata, 'root' | 'targets' | 'models'>;
interface Holders {
  readonly delegator: string;
  readonly role: RoleKeys;
  readonly keys: Readonly<Record<string, TufKey>>;
}

/**
 * Decides whether documents may be published together (docs/protocol.md, section 3): each is the next version of its role, is signed as its delegator
 * demands, holds to the form of this repository, has not expired; and afterwards every role is signed by keys that are in force.
 *
 * @throws TufError TUF_*; RepositoryError REPOSITORY_MISSING, _VERSION_WRONG, _DOCUMENT_REFUSED, _ROLE_UNSIGNED
 */
export function verifyPublication(
  current: Base | undefined,
  documents: readonly SentDocument[],
  nowMs: number,
): Publication {
  const rest = new Map<string, SentDocument>();
  const sentRoots: SentDocument[] = [];
  for (const document of documents) {
    if (document.role === 'root') sentRoots.push(document);
    else if (rest.has(document.role)) throw refused(document.role, 'it is there twice');
    else rest.set(document.role, document);
  }

  let root = current?.root.signed;
  const roots = sentRoots.map((document) => {
    const file = verifyRoot(document, root, nowMs);
    root = file.signed;
    return file;
  });
  if (!root) throw repositoryMissing();

  const sentTargets = rest.get('targets');
  rest.delete('targets');
  const targetsHolders = { delegator: `root version ${root.version}`, role: root.roles.targets, keys: root.keys };
  const newTargets = sentTargets && verifyRole(sentTargets, current?.targets.signed, targetsHolders, nowMs);
  if (newTargets) verifyTargetsForm(newTargets.signed, current?.targets.signed);
  const targets = newTargets ?? current?.targets;
  if (!targets) throw refused('root', 'the first root needs the first targets beside it');
  if (!newTargets) requireStillSigned('targets', targets, targetsHolders);

  const models = new Map<ModelName, MetadataFile<'targets'>>();
  for (const [role, document] of rest) {
    const model = role as ModelName;
    const file = verifyRole(document, current?.models.get(model)?.signed, modelHolders(targets.signed, model), nowMs);
    verifyModelRoleForm(model, file.signed);
    models.set(model, file);
  }
  for (const [model, file] of current?.models ?? []) {
    if (!models.has(model)) requireStillSigned(model, file, modelHolders(targets.signed, model));
  }
  return { roots, ...(newTargets && { targets: newTargets }), models, root };
}

function modelHolders(targets: Targets, model: ModelName): Holders {
  const role = delegationOf(targets, model);
  if (role) return { delegator: `targets version ${targets.version}`, role, keys: targets.delegations?.keys ?? {} };
  throw new RepositoryError('REPOSITORY_DOCUMENT_REFUSED', `Targets delegate no model "${model}" to anybody.`, {
    where: `${model}.json`,
    remedy: `Let the holders of targets sign a delegation first: \`drover keys delegate ${model}\`.`,
  });
}

/** TUF 1.0, sections 5.3.4 and 5.3.5: by the thresholds of the old root and of the new one, and exactly one version higher. */
function verifyRoot(document: SentDocument, current: Root | undefined, nowMs: number): MetadataFile<'root'> {
  const file = read('root', document);
  const { signed } = file;
  const where = `${signed.version}.root.json`;
  const own = { delegator: `root version ${signed.version}`, role: signed.roles.root, keys: signed.keys };
  requireNext('root', signed.version, current?.version);
  if (current) {
    const before = { delegator: `root version ${current.version}`, role: current.roles.root, keys: current.keys };
    verifyThreshold({ file, ...before, where, section: '5.3.4' });
  }
  verifyThreshold({ file, ...own, where, section: '5.3.4' });
  verifyRootForm(signed);
  requireUnexpired('root', signed, nowMs);
  const keyids = [...new Set([...(current?.roles.root.keyids ?? []), ...signed.roles.root.keyids])];
  return pruned(file, keyids, { ...current?.keys, ...signed.keys });
}

function verifyRole(
  document: SentDocument,
  current: Targets | undefined,
  holders: Holders,
  nowMs: number,
): MetadataFile<'targets'> {
  const file = read('targets', document);
  requireNext(document.role, file.signed.version, current?.version);
  verifyThreshold({ file, ...holders, where: `${document.role}.json`, section: '5.6.3' });
  requireUnexpired(document.role, file.signed, nowMs);
  return pruned(file, holders.role.keyids, holders.keys);
}

function read<Kind extends 'root' | 'targets'>(kind: Kind, { role, signed, signatures }: SentDocument) {
  // What is no metadata is refused by the parser; the type says only what it is going to be.
  const bytes = encodeMetadata({ signed: signed as MetadataFile['signed'], signatures });
  const maxBytes = kind === 'root' ? DEFAULT_LIMITS.maxRootBytes : DEFAULT_LIMITS.maxTargetsBytes;
  return parseMetadata(kind, bytes, { where: metadataFileName(role) ?? role, maxBytes });
}

/** Signatures that count for nothing are not carried to every device. */
function pruned<Kind extends 'root' | 'targets'>(
  file: MetadataFile<Kind>,
  keyids: readonly string[],
  keys: Readonly<Record<string, TufKey>>,
): MetadataFile<Kind> {
  const holding = new Set(signedByHolders(file, keyids, keys));
  const signatures = file.signatures.filter(({ keyid }) => holding.has(keyid));
  return { signed: file.signed, signatures, bytes: encodeMetadata({ signed: file.signed, signatures }) };
}

/**
 * Where there is none yet, any version begins it, and a role but root may leave versions out: what was lost with a control plane is published again
 * from the newest file that was signed.
 */
function requireNext(role: string, version: number, current: number | undefined): void {
  if (current === undefined || version === current + 1 || (role !== 'root' && version > current)) return;
  throw new RepositoryError(
    'REPOSITORY_VERSION_WRONG',
    `The next version of ${role} is ${current + 1}; this is ${version}.`,
    {
      where: `${role}.json`,
      remedy:
        'Somebody has published since it was made, or it was published already: make it again from what is there now.',
    },
  );
}

function requireUnexpired(role: string, signed: { readonly expires: string }, nowMs: number): void {
  if (expiresAtMs(signed) > nowMs) return;
  throw new RepositoryError('REPOSITORY_ROLE_EXPIRED', `This ${role} expired on ${signed.expires}.`, {
    where: `${role}.json`,
    remedy: 'Make it again with a later --expires, and let it be signed anew.',
  });
}

/** A change of keys may not leave behind a role that no device would take any more. */
function requireStillSigned(role: string, file: MetadataFile, holders: Holders): void {
  if (signedByHolders(file, holders.role.keyids, holders.keys).length >= holders.role.threshold) return;
  throw new RepositoryError(
    'REPOSITORY_ROLE_UNSIGNED',
    `${role} version ${file.signed.version} is not signed by the keys that ${holders.delegator} names.`,
    {
      where: `${role}.json`,
      remedy: `Publish the next version of ${role}, signed by its new keys, together with this. \`drover keys rotate\` and \`revoke\` put it into the same file.`,
    },
  );
}

const refused = (role: string, why: string) =>
  new RepositoryError('REPOSITORY_DOCUMENT_REFUSED', `This ${role} is refused: ${why}.`, {
    where: `${role}.json`,
    remedy: 'Make the documents with `drover keys` or `drover model publish`.',
  });
