import { describe, expect, it } from 'vitest';
import { RepositoryClient, signMetadata, type TufSigner } from '../../../src/trust/tuf/index.js';
import {
  createSigner,
  MemoryCache,
  RepositorySimulator,
  type KeyType,
} from '../../../src/trust/tuf/simulator/index.js';
import { expectRefusal, heldVersions, nowMs, PATH, settledWorld, world } from './fixture.js';

/** Keys by number: which the role trusts, how many of them it asks for, and which signed. */
interface KeyPlan {
  readonly keys: readonly number[];
  readonly threshold: number;
  readonly signedBy: readonly number[];
}
const plan = (keys: readonly number[], threshold: number, signedBy: readonly number[]): KeyPlan => ({
  keys,
  threshold,
  signedBy,
});

const signers: readonly TufSigner[] = Array.from({ length: 10 }, () => createSigner());
const pick = (numbers: readonly number[]) =>
  numbers.map((number) => signers[number]).filter((signer) => signer !== undefined);

function trust(repository: RepositorySimulator, role: string, { keys, threshold, signedBy }: KeyPlan): void {
  const trusted =
    role === 'gas'
      ? repository.targets.delegations?.roles?.find(({ name }) => name === role)
      : repository.root.roles[role as 'root'];
  if (!trusted) throw new Error(`There is no role ${role}.`);
  trusted.keyids = [];
  for (const signer of pick(keys)) repository.addKey(role, { signer });
  trusted.threshold = threshold;
  repository.signers.set(role, pick(signedBy));
}

/** Of root: each plan is one version; all but the last are accepted. TUF 1.0, sections 5.3.4 and 6.1. */
const ROOTS: readonly (readonly [string, boolean, readonly KeyPlan[]])[] = [
  ['one key is replaced', true, [plan([1], 1, [1]), plan([2], 1, [2, 1]), plan([2], 1, [2])]],
  ['strangers sign too', true, [plan([1], 1, [3, 1, 4]), plan([2], 1, [3, 2, 1, 4]), plan([2], 1, [3, 2, 4])]],
  [
    'any three of five sign',
    true,
    [plan([0, 1, 2, 3, 4], 3, [0, 2, 4]), plan([0, 1, 2, 3, 4], 3, [0, 4, 1]), plan([0, 1, 2, 3, 4], 3, [0, 1, 3])],
  ],
  ['one of five is replaced', true, [plan([0, 1, 2, 3, 4], 3, [0, 2, 4]), plan([0, 1, 3, 4, 5], 3, [0, 4, 1])]],
  [
    'all five are replaced in one step',
    true,
    [
      plan([0, 1, 2, 3, 4], 3, [0, 2, 4]),
      plan([5, 6, 7, 8, 9], 3, [0, 2, 4, 5, 6, 7]),
      plan([5, 6, 7, 8, 9], 3, [5, 6, 7]),
    ],
  ],
  ['the threshold rises', true, [plan([1, 2, 3], 1, [1]), plan([1, 2, 3], 2, [1, 2])]],
  ['the threshold falls', true, [plan([1, 2, 3], 2, [1, 2]), plan([1, 2, 3], 1, [1, 2]), plan([1, 2, 3], 1, [1])]],
  ['a key is added and needed', true, [plan([1], 1, [1]), plan([1, 2], 2, [1, 2])]],
  ['the old key did not sign', false, [plan([1], 1, [1]), plan([2], 1, [2, 3, 4])]],
  ['the new key did not sign', false, [plan([1], 1, [1]), plan([2], 1, [1, 3, 4])]],
  ['two of three new keys signed', false, [plan([0, 1, 2, 3, 4], 3, [0, 2, 4]), plan([0, 1, 3, 4, 5], 3, [0, 2, 4])]],
  ['two of three old keys signed', false, [plan([0, 1, 2, 3, 4], 3, [0, 2, 4]), plan([0, 1, 3, 4, 5], 3, [0, 4, 5])]],
  ['the higher threshold is not met', false, [plan([1, 2, 3], 1, [1]), plan([1, 2, 3], 2, [2])]],
  [
    'the threshold falls, and too few of the old one signed',
    false,
    [plan([1, 2, 3], 2, [1, 2]), plan([1, 2, 3], 1, [1])],
  ],
  ['more signatures are asked for than there are keys', false, [plan([1], 1, [1]), plan([1, 2], 3, [1, 2, 3])]],
];

describe('rotations of root', () => {
  it.each(ROOTS)('5.3.4 when %s: accepted %s', async (_, accepted, [first, ...others]) => {
    const repository = new RepositorySimulator({ nowMs });
    if (first) trust(repository, 'root', first);
    const pinnedRoot = signMetadata(repository.root, repository.signers.get('root') ?? []);
    for (const next of others) {
      trust(repository, 'root', next);
      repository.publish('root');
    }
    const cache = new MemoryCache();
    const client = new RepositoryClient({ pinnedRoot, cache });
    const refresh = client.refresh({ fetcher: repository.fetcher, nowMs, signal: new AbortController().signal });
    if (accepted) await refresh;
    else await expectRefusal(refresh, 'TUF_SIGNATURES_BELOW_THRESHOLD', '5.3.4');
    expect(client.root.version).toBe(accepted ? others.length + 1 : others.length);
    expect(heldVersions(cache)).toMatchObject({ root: client.root.version });
  });
});

/** Of every other role, first signed by one key of its own. */
const OTHERS: readonly (readonly [string, boolean, KeyPlan])[] = [
  ['its key is replaced', true, plan([2], 1, [2])],
  ['strangers sign too', true, plan([1], 1, [3, 1, 4])],
  ['the first, third and fifth of five sign', true, plan([0, 1, 2, 3, 4], 3, [0, 2, 4])],
  ['the last three of five sign', true, plan([0, 1, 2, 3, 4], 3, [2, 3, 4])],
  ['all five sign', true, plan([0, 1, 2, 3, 4], 5, [0, 1, 2, 3, 4])],
  ['the new key did not sign', false, plan([2], 1, [1, 3, 4])],
  ['one of three is a stranger', false, plan([0, 1, 3, 4, 5], 3, [0, 2, 4])],
  ['two of three signed', false, plan([0, 1, 3, 4, 5], 3, [0, 4])],
  ['nobody signed', false, plan([1], 1, [])],
];

const SECTION_OF = { timestamp: '5.4.2', snapshot: '5.5.3', targets: '5.6.3', gas: '5.6.3' } as const;

describe.each(Object.keys(SECTION_OF) as (keyof typeof SECTION_OF)[])('rotations of %s', (role) => {
  it.each(OTHERS)('when %s: accepted %s', async (_, accepted, next) => {
    const { repository, online, client, cache } = await settledWorld();
    trust(repository, role, next);
    repository.publish('root', 'gas', 'targets', 'snapshot', 'timestamp');
    const before = heldVersions(cache)[role] ?? 0;
    const look = async () => {
      await client.refresh(online);
      await client.target(PATH, online);
    };
    if (accepted) {
      await look();
      expect(heldVersions(cache)[role]).toBe(before + 1);
    } else {
      await expectRefusal(look(), 'TUF_SIGNATURES_BELOW_THRESHOLD', SECTION_OF[role]);
      expect(heldVersions(cache)[role] ?? before).toBe(before);
    }
  });

  it('goes on after a refusal, once enough keys have signed', async () => {
    const { repository, online, client } = await settledWorld();
    trust(repository, role, plan([0, 1, 2], 2, [0]));
    repository.publish('root', 'gas', 'targets', 'snapshot', 'timestamp');
    const look = async () => {
      await client.refresh(online);
      return client.target(PATH, online);
    };
    await expectRefusal(look(), 'TUF_SIGNATURES_BELOW_THRESHOLD', SECTION_OF[role]);
    repository.signers.set(role, pick([0, 2]));
    repository.publish('gas', 'targets', 'snapshot', 'timestamp');
    expect(await look()).toMatchObject({ role: 'gas' });
  });
});

describe.each<KeyType>(['ed25519', 'ecdsa', 'rsa'])('a repository with %s keys (section 4.2.2)', (keyType) => {
  it('is followed, and refused with the signature of another key of that type', async () => {
    const { repository, client, online } = world({ keyType });
    await client.refresh(online);
    expect(await client.target(PATH, online)).toBeDefined();

    const [own] = repository.signers.get('timestamp') ?? [];
    const foreign = createSigner(keyType);
    if (own) repository.signers.set('timestamp', [{ ...own, sign: (message) => foreign.sign(message) }]);
    repository.publish('timestamp');
    await expectRefusal(client.refresh(online), 'TUF_SIGNATURES_BELOW_THRESHOLD', '5.4.2');
  });
});
