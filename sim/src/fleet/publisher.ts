import { digestHex, type ModelName, type Version } from '@drover/shared/ids';
import type { AssembledRelease } from '@drover/shared/release';
import { createKeyPair, type KeyPair, type PublicKey } from '@drover/shared/trust';
import {
  delegate,
  firstModelRole,
  firstRoot,
  firstTargets,
  nextRoot,
  renew,
  withRelease,
  type Holders,
} from '@drover/shared/trust/ceremony';
import { signatureOf, signMetadata, tufSigner, type Root, type Targets } from '@drover/shared/trust/tuf';
import type { Operator } from './operator.js';

/** Those who hold the keys of the release repository, apart from the control plane: what they sign is all that it gets. */
export interface Publisher {
  /** The root that each device is given when it is installed. */
  readonly pinnedRoot: Uint8Array;
  /** Who signs the releases of the model, all of them together. */
  readonly authors: readonly KeyPair[];
  /** Who signs the root, all of them together. */
  readonly owners: readonly KeyPair[];
  /** The secrets, to look whether one of them got where it should not be. */
  readonly seeds: readonly string[];
  /** Publishes the first root and targets. */
  begin(): Promise<void>;
  /** Lists a release whose files were uploaded, in the next version of the role of its line. */
  publish(release: ListedRelease): Promise<void>;
  /** Goes on from what the control plane lists now, whatever was published before. */
  forget(): Promise<void>;
  /** Signs the model's role anew, with what it lists already. */
  renew(): Promise<void>;
  /** Names the newest of the control plane's online keys in a new root, instead of the one before. */
  rotateOnline(): Promise<void>;
}

export type ListedRelease = Pick<AssembledRelease, 'digest' | 'manifestBytes'> & {
  readonly manifest: { readonly model: ModelName; readonly version: Version };
};

export interface PublisherOptions {
  /** How many sign a release; each has a key of their own. */
  readonly authors?: number;
  /** Whose releases they sign beside those of the model. */
  readonly otherLines?: readonly ModelName[];
}

const YEAR_MS = 365 * 86_400_000;

export async function openPublisher(
  operator: Operator,
  model: ModelName,
  options: PublisherOptions = {},
): Promise<Publisher> {
  const owner = createKeyPair('owner');
  const authors = Array.from({ length: options.authors ?? 1 }, (_, index) => createKeyPair(`author ${index + 1}`));
  const heldBy = (keys: readonly Pick<PublicKey, 'publicKey'>[]): Holders => ({ keys, threshold: keys.length });
  const newestOnline = async (): Promise<Holders> => {
    const { items } = await operator.get<{ items: PublicKey[] }>('/api/v1/repository/online-keys');
    return { keys: items.slice(-1), threshold: 1 };
  };
  const expiresAtMs = Date.now() + YEAR_MS;
  let root = firstRoot({
    root: heldBy([owner]),
    targets: heldBy([owner]),
    online: await newestOnline(),
    expiresAtMs,
  });
  const lines = [model, ...(options.otherLines ?? [])];
  const delegating = lines.reduce(
    (targets, line) => delegate(targets, line, heldBy(authors), expiresAtMs),
    firstTargets(expiresAtMs),
  );
  const targets = { ...delegating, version: 1 };
  const signed = (role: string, document: Root | Targets, keys: readonly KeyPair[]) => ({
    role,
    signed: document,
    signatures: keys.map((key) => signatureOf(document, tufSigner(key))),
  });
  const send = (documents: readonly object[]) =>
    operator.send('POST', '/api/v1/repository/publications', { documents });
  const roles = new Map<ModelName, Targets>();
  const nextRole = (line: ModelName): Targets => {
    const role = roles.get(line);
    return role ? renew(role, expiresAtMs) : firstModelRole(expiresAtMs);
  };
  const sendRole = async (line: ModelName, next: Targets): Promise<void> => {
    await send([signed(line, next, authors)]);
    roles.set(line, next);
  };
  return {
    pinnedRoot: signMetadata(root, [tufSigner(owner)]),
    authors,
    owners: [owner],
    seeds: [owner, ...authors].map(({ seed }) => seed),
    async begin() {
      await send([signed('root', root, [owner]), signed('targets', targets, [owner])]);
    },
    publish: ({ manifest, manifestBytes, digest }) =>
      sendRole(
        manifest.model,
        withRelease(nextRole(manifest.model), {
          model: manifest.model,
          version: manifest.version,
          manifestBytes: manifestBytes.length,
          sha256: digestHex(digest),
        }),
      ),
    async forget() {
      roles.set(model, (await operator.get<{ signed: Targets }>(`/api/v1/repository/metadata/${model}.json`)).signed);
    },
    renew: () => sendRole(model, nextRole(model)),
    async rotateOnline() {
      const next = nextRoot(root, { online: await newestOnline() }, expiresAtMs);
      await send([signed('root', next, [owner])]);
      root = next;
    },
  };
}
