import type { PublicKey } from '@drover/shared/trust';
import type { ReleaseManifest } from '@drover/shared/manifest';
import type { AssembledRelease } from '@drover/shared/release';
import { digestHex } from '@drover/shared/ids';
import {
  firstModelRole,
  modelSigners,
  proposalOf,
  renew,
  withRelease,
  type Holders,
  type Proposal,
} from '@drover/shared/trust/ceremony';
import type { Targets } from '@drover/shared/trust/tuf';
import { RepositoryError, repositoryMissing } from '../../release-repository/errors.js';
import type { Client } from '../client.js';
import { draftChange, draftFirst, isDelegated } from './draft.js';
import type { NamedSigner } from './key-files.js';
import type { KnownRepository } from './known-repository.js';

/** A release of a model or of the agent itself. */
export interface SignableRelease extends Pick<AssembledRelease, 'digest' | 'manifestBytes'> {
  readonly manifest: Pick<ReleaseManifest, 'model' | 'version'>;
}

/** The next version of the model's role, with this release. @throws RepositoryError REPOSITORY_MISSING, REPOSITORY_DOCUMENT_REFUSED */
export function proposeRelease(
  known: KnownRepository | undefined,
  release: SignableRelease,
  expiresAtMs: number,
): Proposal {
  if (!known) throw repositoryMissing();
  const { model } = release.manifest;
  if (!isDelegated(known, model)) {
    throw new RepositoryError('REPOSITORY_DOCUMENT_REFUSED', `Targets delegate no model "${model}" to anybody.`, {
      where: `${model}.json`,
      remedy: `Let the holders of targets sign a delegation first: \`drover keys delegate ${model}\`.`,
    });
  }
  return proposalOf([modelDocument(known.targets, known.models.get(model), release, expiresAtMs)]);
}

/** The same with the development key, which also makes what is missing: the repository, and the delegation of the model. */
export async function proposeDevelopmentRelease(
  client: Client,
  known: KnownRepository | undefined,
  release: SignableRelease,
  { signer, expiresAtMs }: { readonly signer: NamedSigner; readonly expiresAtMs: number },
): Promise<Proposal> {
  const { model } = release.manifest;
  const holders: Holders = { keys: [{ publicKey: signer.key.keyval.public }], threshold: 1 };
  if (!known) {
    const { items } = await client.get<{ items: PublicKey[] }>('/repository/online-keys');
    const online: Holders = { keys: items.slice(-1), threshold: 1 };
    const models = new Map([[model, holders]]);
    const first = draftFirst({ root: holders, targets: holders, online, models, expiresAtMs, development: true });
    return joined(first.proposal, proposalOf([modelDocument(first.targets, undefined, release, expiresAtMs)]));
  }
  if (isDelegated(known, model)) return proposeRelease(known, release, expiresAtMs);
  const change = draftChange(known, { models: new Map([[model, holders]]) }, expiresAtMs);
  const targets = change.documents.find(({ role }) => role === 'targets')?.signed as Targets;
  return joined(change, proposalOf([modelDocument(targets, undefined, release, expiresAtMs)]));
}

function modelDocument(targets: Targets, role: Targets | undefined, release: SignableRelease, expiresAtMs: number) {
  const { manifest, digest, manifestBytes } = release;
  const { model, version } = manifest;
  const next = role ? renew(role, expiresAtMs) : firstModelRole(expiresAtMs);
  const signed = withRelease(next, { model, version, manifestBytes: manifestBytes.length, sha256: digestHex(digest) });
  return { role: model, signed, signers: modelSigners(targets, model) };
}

const joined = (...proposals: readonly Proposal[]): Proposal => ({
  format: 'drover.proposal/1',
  documents: proposals.flatMap(({ documents }) => documents),
});
