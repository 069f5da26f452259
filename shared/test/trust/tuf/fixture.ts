import { expect } from 'vitest';
import {
  RepositoryClient,
  TufError,
  type RefreshOptions,
  type TufCode,
  type TufLimits,
} from '../../../src/trust/tuf/index.js';
import { MemoryCache, RepositorySimulator, type SimulatorOptions } from '../../../src/trust/tuf/simulator/index.js';

export const nowMs = Date.UTC(2030, 0, 1);
export const DAY_MS = 86_400_000;
export const RELEASE = Buffer.from('{"format":"drover.release/1"}');
export const PATH = 'gas/1.0.0.json';

export interface WorldOptions extends Partial<SimulatorOptions> {
  readonly limits?: Partial<TufLimits>;
}

export interface World {
  readonly repository: RepositorySimulator;
  readonly cache: MemoryCache;
  /** A client on the same cache, as after a restart. */
  readonly open: () => RepositoryClient;
  readonly client: RepositoryClient;
  readonly online: RefreshOptions;
}

/** A repository with one model, `gas`, and a device that pinned its first root. Versions: root 1, timestamp 2, snapshot 2, targets 2, gas 1. */
export function world({ limits = {}, ...options }: WorldOptions = {}): World {
  const repository = new RepositorySimulator({ nowMs, ...options });
  repository.delegate({ name: 'gas', paths: ['gas/*'], terminating: true });
  repository.addTarget('gas', PATH, RELEASE);
  repository.publish('gas', 'targets', 'snapshot', 'timestamp');
  const cache = new MemoryCache();
  const open = () => new RepositoryClient({ pinnedRoot: repository.pinnedRoot, cache, limits });
  const online = { fetcher: repository.fetcher, nowMs, signal: new AbortController().signal };
  return { repository, cache, open, client: open(), online };
}

/** The same, after the device followed it once and looked its release up. */
export async function settledWorld(options: WorldOptions = {}): Promise<World> {
  const settled = world(options);
  await settled.client.refresh(settled.online);
  await settled.client.target(PATH, settled.online);
  settled.repository.requests.length = 0;
  settled.cache.changes.length = 0;
  return settled;
}

/** The version of each role that the device has on its disk. */
export function heldVersions(cache: MemoryCache): Record<string, number> {
  const held: Record<string, number> = {};
  for (const [name, bytes] of cache.entries) {
    if (!name.endsWith('.json')) continue;
    held[name.slice(0, -'.json'.length)] = (
      JSON.parse(Buffer.from(bytes).toString()) as { signed: { version: number } }
    ).signed.version;
  }
  return held;
}

export async function refusalOf(work: Promise<unknown>): Promise<TufError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof TufError) return error;
    throw error;
  }
  throw new Error('It was accepted.');
}

export async function expectRefusal(work: Promise<unknown>, code: TufCode, section: string): Promise<TufError> {
  const refusal = await refusalOf(work);
  expect({ code: refusal.code, section: refusal.section, what: refusal.message }).toMatchObject({ code, section });
  expect(refusal.message).toContain(`(TUF ${section})`);
  return refusal;
}

/** Changes what is served without signing it anew. */
export function tamper(world: Pick<World, 'repository'>, name: string, change: (text: string) => string): void {
  const bytes = world.repository.files.get(name);
  if (!bytes) throw new Error(`The repository serves no ${name}.`);
  world.repository.files.set(name, Buffer.from(change(Buffer.from(bytes).toString())));
}
