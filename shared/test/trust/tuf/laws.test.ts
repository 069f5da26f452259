import { createHash, createPublicKey, verify } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RepositoryClient, TufError } from '../../../src/trust/tuf/index.js';
import { createSigner, MemoryCache, RepositorySimulator, toExpiry } from '../../../src/trust/tuf/simulator/index.js';
import { DAY_MS, heldVersions, nowMs, PATH, RELEASE } from './fixture.js';

type Role = 'root' | 'timestamp' | 'snapshot' | 'targets' | 'gas';
const ROLES: readonly Role[] = ['root', 'timestamp', 'snapshot', 'targets', 'gas'];
const CHAIN: Readonly<Record<Role, readonly Role[]>> = {
  root: ['root'],
  timestamp: ['timestamp'],
  snapshot: ['snapshot', 'timestamp'],
  targets: ['targets', 'snapshot', 'timestamp'],
  gas: ['gas', 'snapshot', 'timestamp'],
};

/** What whoever answers the device may do: everything that needs no keys, and honest work that does. */
const move = fc.oneof(
  fc.record({ kind: fc.constant('publish' as const), role: fc.constantFrom(...ROLES) }),
  fc.record({ kind: fc.constant('rotate' as const), role: fc.constantFrom(...ROLES) }),
  // The online keys are stolen: the thief signs any version of what they sign.
  fc.record({
    kind: fc.constant('go back' as const),
    role: fc.constantFrom<Role>('timestamp', 'snapshot', 'targets'),
    by: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({ kind: fc.constant('forge' as const), role: fc.constantFrom(...ROLES) }),
  fc.record({ kind: fc.constant('expire' as const), role: fc.constantFrom<Role>('timestamp', 'snapshot', 'targets') }),
  fc.record({ kind: fc.constant('replay' as const), to: fc.nat({ max: 20 }) }),
  fc.record({ kind: fc.constant('swap' as const), one: fc.nat({ max: 40 }), other: fc.nat({ max: 40 }) }),
  fc.record({ kind: fc.constant('flip' as const), file: fc.nat({ max: 40 }), at: fc.nat({ max: 4000 }) }),
  fc.record({ kind: fc.constant('restart' as const) }),
);
type Move = typeof move extends fc.Arbitrary<infer Kind> ? Kind : never;

/** Canonical JSON and threshold once more, by other means than the client's. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1));
    return `{${entries.map(([key, entry]) => `${JSON.stringify(key)}:${canonical(entry)}`).join(',')}}`;
  }
  return JSON.stringify(value);
}

interface Held {
  signed: Record<string, unknown> & {
    version: number;
    keys: Record<string, { keyval: { public: string } }>;
    roles: Record<string, { keyids: string[]; threshold: number }>;
  };
  signatures: { keyid: string; sig: string }[];
}
const heldFile = (cache: MemoryCache, name: string) => {
  const bytes = cache.entries.get(name);
  return bytes && (JSON.parse(Buffer.from(bytes).toString()) as Held);
};

function signersOf({ signed, signatures }: Held, root: Held['signed'], role: string): number {
  const message = Buffer.from(canonical(signed));
  const holding = (root.roles[role]?.keyids ?? []).filter((keyid) => {
    const sig = signatures.find((signature) => signature.keyid === keyid)?.sig;
    const raw = root.keys[keyid]?.keyval.public;
    if (sig === undefined || raw === undefined) return false;
    const key = createPublicKey({
      format: 'jwk',
      key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(raw, 'hex').toString('base64url') },
    });
    return verify(null, message, key, Buffer.from(sig, 'hex'));
  });
  return new Set(holding.map((keyid) => root.keys[keyid]?.keyval.public)).size;
}

function scene() {
  const repository = new RepositorySimulator({ nowMs });
  repository.delegate({ name: 'gas', paths: ['gas/*'], terminating: true });
  repository.addTarget('gas', PATH, RELEASE);
  repository.publish('gas', 'targets', 'snapshot', 'timestamp');
  return { repository, cache: new MemoryCache(), past: [new Map(repository.files)] };
}

function play({ repository, past }: ReturnType<typeof scene>, next: Move): void {
  const names = [...repository.files.keys()];
  const nameAt = (at: number) => names[at % names.length] ?? '';
  if (next.kind === 'publish') repository.publish(...CHAIN[next.role]);
  if (next.kind === 'rotate') {
    repository.rotateKeys(next.role);
    repository.publish('root', 'gas', 'targets', 'snapshot', 'timestamp');
  }
  if (next.kind === 'go back') {
    const role = repository.role(next.role);
    role.version = Math.max(0, role.version - 1 - next.by);
    repository.publish(...CHAIN[next.role]);
  }
  if (next.kind === 'forge') {
    const own = repository.signers.get(next.role) ?? [];
    repository.signers.set(next.role, [createSigner()]);
    repository.publish(...CHAIN[next.role]);
    repository.signers.set(next.role, own);
    if (next.role === 'root') repository.root.version--;
  }
  if (next.kind === 'expire') {
    const role = repository.role(next.role);
    const { expires } = role;
    role.expires = toExpiry(nowMs - DAY_MS);
    repository.publish(...CHAIN[next.role]);
    role.expires = expires;
  }
  if (next.kind === 'replay') {
    for (const [name, bytes] of past[next.to % past.length] ?? []) repository.files.set(name, bytes);
  }
  if (next.kind === 'swap') {
    const bytes = repository.files.get(nameAt(next.other));
    if (bytes) repository.files.set(nameAt(next.one), bytes);
  }
  if (next.kind === 'flip') {
    const bytes = Uint8Array.from(repository.files.get(nameAt(next.file)) ?? [0]);
    const at = next.at % bytes.length;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    repository.files.set(nameAt(next.file), bytes);
  }
  past.push(new Map(repository.files));
}

/** The keys of timestamp and snapshot in the held root: when they change, versions may begin anew (5.3.11). */
const onlineKeys = (cache: MemoryCache) => {
  const root = heldFile(cache, 'root.json')?.signed;
  return root && canonical([root.roles['timestamp']?.keyids, root.roles['snapshot']?.keyids]);
};

describe('whatever the repository serves', () => {
  it('versions never go back but with new online keys, and what is held was signed by its threshold', async () => {
    let accepted = 0;
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(move, { minLength: 1, maxLength: 12 }), async (moves) => {
        const world = scene();
        const { repository, cache } = world;
        const open = () => new RepositoryClient({ pinnedRoot: repository.pinnedRoot, cache });
        const online = { fetcher: repository.fetcher, nowMs, signal: new AbortController().signal };
        let client = open();
        for (const next of moves) {
          const before = heldVersions(cache);
          const keysBefore = onlineKeys(cache);
          play(world, next);
          if (next.kind === 'restart') client = open();
          try {
            await client.refresh(online);
            await client.target(PATH, online);
            accepted++;
          } catch (error) {
            // Nothing but a coded refusal may come out, whatever went in.
            if (!(error instanceof TufError)) throw error;
            refused++;
          }
          const after = heldVersions(cache);
          const mayGoBack = keysBefore === undefined || keysBefore !== onlineKeys(cache);
          for (const role of mayGoBack ? ['root'] : ['root', 'timestamp', 'snapshot'])
            expect(after[role] ?? 0).toBeGreaterThanOrEqual(before[role] ?? 0);

          const root = heldFile(cache, 'root.json')?.signed;
          if (!root) throw new Error('The device lost its root.');
          for (const role of ['root', 'timestamp', 'snapshot']) {
            const file = heldFile(cache, `${role}.json`);
            if (file) expect(signersOf(file, root, role)).toBeGreaterThanOrEqual(root.roles[role]?.threshold ?? 1);
          }
        }
      }),
      { numRuns: 50 },
    );
    // The law would also hold for a client that refuses everything.
    expect(accepted).toBeGreaterThan(30);
    expect(refused).toBeGreaterThan(30);
  }, 120_000);

  it('an honest repository with higher versions and new online keys always gets through again', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(move, { maxLength: 8 }), async (moves) => {
        const world = scene();
        const { repository, cache } = world;
        const online = { fetcher: repository.fetcher, nowMs, signal: new AbortController().signal };
        const client = new RepositoryClient({ pinnedRoot: repository.pinnedRoot, cache });
        const roots = new Map<string, Uint8Array>();
        for (const next of moves) {
          play(world, next);
          for (let version = 1; version <= repository.root.version; version++) {
            const name = `${version}.root.json`;
            // The true roots, as they were first published; later moves may serve others under their names.
            const bytes = repository.files.get(name);
            if (bytes && !roots.has(name) && next.kind !== 'forge' && next.kind !== 'swap' && next.kind !== 'flip')
              roots.set(name, bytes);
          }
          await client.refresh(online).catch(() => undefined);
        }
        // The publishers recover: every true root is served again, online keys are rotated, all is signed anew.
        for (const [name, bytes] of roots) repository.files.set(name, bytes);
        repository.rotateKeys('timestamp');
        repository.rotateKeys('snapshot');
        for (const role of ROLES) repository.role(role).version += role === 'root' ? 0 : 1000;
        repository.publish('root', 'gas', 'targets', 'snapshot', 'timestamp');
        await client.refresh(online);
        const target = await client.target(PATH, online);
        expect(target?.hashes['sha256']).toBe(createHash('sha256').update(RELEASE).digest('hex'));
      }),
      { numRuns: 25 },
    );
  }, 120_000);
});
