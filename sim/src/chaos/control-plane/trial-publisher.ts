import { digestHex } from '@drover/shared/ids';
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
import {
  RepositoryClient,
  signatureOf,
  signMetadata,
  tufSigner,
  type Root,
  type Targets,
} from '@drover/shared/trust/tuf';
import { MemoryCache } from '@drover/shared/trust/tuf/simulator';
import type { Operator } from '../../fleet/operator.js';
import { TRIAL_MODEL, type Published } from '../releases/releases.js';
import type { Ledger, Thing } from './ledger.js';

const YEAR_MS = 365 * 86_400_000;

/**
 * Those who sign for the release repository, and who may get no answer: what they sent last was then published or not, and they look which it was
 * before they sign the next. They also read it as a device does, with all that it remembers between lives.
 */
export class TrialPublisher {
  readonly #owner = createKeyPair('owner');
  readonly #author = createKeyPair('author');
  readonly #expiresAtMs = Date.now() + YEAR_MS;
  #root: { known?: Root; sent?: Root } = {};
  #role: { known?: Targets; sent?: Targets } = {};
  readonly #ledger: Ledger;
  #client: RepositoryClient | undefined;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** Publishes the first root and targets. */
  async begin(operator: Operator): Promise<void> {
    const { items } = await operator.get<{ items: PublicKey[] }>('/api/v1/repository/online-keys');
    const [owner, online] = [heldBy(this.#owner), { keys: items.slice(-1), threshold: 1 }];
    const root = firstRoot({ root: owner, targets: owner, online, expiresAtMs: this.#expiresAtMs });
    const first = firstTargets(this.#expiresAtMs);
    const targets = { ...delegate(first, TRIAL_MODEL, heldBy(this.#author), this.#expiresAtMs), version: 1 };
    const documents = [signed('root', root, this.#owner), signed('targets', targets, this.#owner)];
    await this.#send(operator, documents, { kind: 'root', name: '1' });
    this.#root = { known: root };
    const pinnedRoot = signMetadata(root, [tufSigner(this.#owner)]);
    this.#client = new RepositoryClient({ pinnedRoot, cache: new MemoryCache() });
  }

  async publish(operator: Operator, { release, manifestBytes }: Published): Promise<void> {
    const next = this.#role.known ? renew(this.#role.known, this.#expiresAtMs) : firstModelRole(this.#expiresAtMs);
    const facts = { model: TRIAL_MODEL, version: release.version, manifestBytes: manifestBytes.length };
    this.#role.sent = withRelease(next, { ...facts, sha256: digestHex(release.digest) });
    await this.#send(operator, [signed(TRIAL_MODEL, this.#role.sent, this.#author)], {
      kind: 'release',
      name: release.version,
      entries: [`release.publish ${TRIAL_MODEL}@${release.version}`],
    });
    this.#role = { known: this.#role.sent };
  }

  /** Names the newest online key in a new root: timestamp and snapshot have to be signed anew. */
  async replaceOnlineKey(operator: Operator): Promise<void> {
    if (!this.#root.known) return;
    const { items } = await operator.get<{ items: PublicKey[] }>('/api/v1/repository/online-keys');
    const online = { keys: items.slice(-1), threshold: 1 };
    this.#root.sent = nextRoot(this.#root.known, { online }, this.#expiresAtMs);
    const { version } = this.#root.sent;
    await this.#send(operator, [signed('root', this.#root.sent, this.#owner)], { kind: 'root', name: `${version}` });
    this.#root = { known: this.#root.sent };
  }

  /** What is wrong with the repository as it is served now; undefined when nothing is. */
  async look(operator: Operator, get: (file: string) => Promise<Uint8Array | undefined>): Promise<string | undefined> {
    if (!this.#client) return undefined;
    const { roles } = await operator.get<{ roles: { role: string; version: number }[] }>('/api/v1/repository');
    for (const [role, state] of [['root', this.#root] as const, [TRIAL_MODEL, this.#role] as const]) {
      const served = roles.find((each) => each.role === role)?.version ?? 0;
      const { known, sent } = state;
      if (served !== (known?.version ?? 0) && served !== sent?.version)
        return `${role} is served as version ${served}; published was ${known?.version ?? 0}`;
    }
    settle(this.#root, roles.find(({ role }) => role === 'root')?.version);
    settle(this.#role, roles.find(({ role }) => role === TRIAL_MODEL)?.version);
    const fetcher = { fetch: get };
    try {
      await this.#client.refresh({ fetcher, nowMs: Date.now(), signal: AbortSignal.timeout(20_000) });
      return undefined;
    } catch (error) {
      return `a device cannot follow the repository: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  async #send(operator: Operator, documents: readonly ReturnType<typeof signed>[], thing: Thing): Promise<void> {
    const published = documents.map(({ role, signed: { version } }) => `repository.publish ${role}@${version}`);
    const whole = { ...thing, entries: [...(thing.entries ?? []), ...published] };
    this.#ledger.give(whole);
    await operator.send('POST', '/api/v1/repository/publications', { documents });
    this.#ledger.acknowledge(whole);
  }
}

function settle<Document extends Root | Targets>(
  state: { known?: Document; sent?: Document },
  served: number | undefined,
): void {
  if (state.sent && state.sent.version === served) state.known = state.sent;
  delete state.sent;
}

const heldBy = (key: KeyPair): Holders => ({ keys: [key], threshold: 1 });
const signed = (role: string, document: Root | Targets, key: KeyPair) => ({
  role,
  signed: document,
  signatures: [signatureOf(document, tufSigner(key))],
});
