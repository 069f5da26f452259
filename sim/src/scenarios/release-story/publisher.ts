import { digestHex, type KeyId, type ModelName } from '@drover/shared/ids';
import type { AssembledRelease } from '@drover/shared/release';
import { createKeyPair, type KeyPair, type PublicKey } from '@drover/shared/trust';
import {
  delegate,
  firstModelRole,
  firstRoot,
  firstTargets,
  renew,
  withRelease,
  type Holders,
} from '@drover/shared/trust/ceremony';
import { signatureOf, signMetadata, tufSigner, type Root, type Targets } from '@drover/shared/trust/tuf';
import type { Operator } from '../../fleet/index.js';

/** Those who hold the keys of the release repository, apart from the control plane: what they sign is all that it gets. */
export interface Publisher {
  /** The root that each device is given when it is installed. */
  readonly pinnedRoot: Uint8Array;
  /** Who signs the releases of the model. */
  readonly keyId: KeyId;
  /** The secrets, to look whether one of them got where it should not be. */
  readonly seeds: readonly string[];
  /** Publishes the first root and targets. */
  begin(): Promise<void>;
  /** Lists a release whose files were uploaded, in the next version of the model's role. */
  publish(release: AssembledRelease): Promise<void>;
}

const YEAR_MS = 365 * 86_400_000;

export async function openPublisher(operator: Operator, model: ModelName): Promise<Publisher> {
  const [owner, author] = [createKeyPair('owner'), createKeyPair('author')];
  const heldBy = (key: Pick<PublicKey, 'publicKey'>): Holders => ({ keys: [key], threshold: 1 });
  const { items } = await operator.get<{ items: PublicKey[] }>('/api/v1/repository/online-keys');
  const expiresAtMs = Date.now() + YEAR_MS;
  const root = firstRoot({
    root: heldBy(owner),
    targets: heldBy(owner),
    online: { keys: items.slice(-1), threshold: 1 },
    expiresAtMs,
  });
  const targets = { ...delegate(firstTargets(expiresAtMs), model, heldBy(author), expiresAtMs), version: 1 };
  const signed = (role: string, document: Root | Targets, key: KeyPair) => ({
    role,
    signed: document,
    signatures: [signatureOf(document, tufSigner(key))],
  });
  const send = (documents: readonly object[]) =>
    operator.send('POST', '/api/v1/repository/publications', { documents });
  let role: Targets | undefined;
  return {
    pinnedRoot: signMetadata(root, [tufSigner(owner)]),
    keyId: author.keyId,
    seeds: [owner.seed, author.seed],
    async begin() {
      await send([signed('root', root, owner), signed('targets', targets, owner)]);
    },
    async publish({ manifest, manifestBytes, digest }) {
      const next = role ? renew(role, expiresAtMs) : firstModelRole(expiresAtMs);
      const listed = withRelease(next, {
        model,
        version: manifest.version,
        manifestBytes: manifestBytes.length,
        sha256: digestHex(digest),
      });
      await send([signed(model, listed, author)]);
      role = listed;
    },
  };
}
