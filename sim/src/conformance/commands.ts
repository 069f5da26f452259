import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { RepositoryClient, TufError, verifyTargetBytes, type TargetFile } from '@drover/shared/trust/tuf';
import { folderCache, replaceFile } from './folder-cache.js';
import { fetchBounded, httpFetcher } from './http-fetcher.js';

/** Not `*.json`: the suite takes every file of that name for a trusted role. */
const PINNED_ROOT = 'pinned-root';

/** `init` of the suite's CLIENT-CLI.md. */
export function init(metadataFolder: string, trustedRootFile: string): void {
  folderCache(metadataFolder).write(PINNED_ROOT, readFileSync(trustedRootFile));
}

export interface RefreshArguments {
  readonly metadataFolder: string;
  readonly metadataUrl: string;
  readonly nowMs: number;
  readonly signal: AbortSignal;
}

/** `refresh`. The client is handed back for the downloads of the same process. */
export async function refresh({ metadataFolder, metadataUrl, nowMs, signal }: RefreshArguments) {
  const cache = folderCache(metadataFolder);
  const client = new RepositoryClient({ pinnedRoot: cache.read(PINNED_ROOT) ?? new Uint8Array(), cache });
  const fetcher = httpFetcher(folderUrl(metadataUrl));
  await client.refresh({ fetcher, nowMs, signal });
  return { client, fetcher };
}

export interface DownloadArguments extends RefreshArguments {
  readonly targetNames: readonly string[];
  readonly targetsUrl: string;
  readonly targetsFolder: string;
}

/** `download`: each target in turn, and the first that fails ends it. */
export async function download({ targetNames, targetsUrl, targetsFolder, ...options }: DownloadArguments) {
  const { client, fetcher } = await refresh(options);
  mkdirSync(targetsFolder, { recursive: true });
  for (const name of targetNames) {
    const target = await client.target(name, { ...options, fetcher });
    if (!target) {
      throw new TufError('TUF_NOT_FOUND', `The repository has no target ${name}.`, { section: '5.7.2', where: name });
    }
    const file = join(targetsFolder, encodeURIComponent(name));
    if (existsSync(file) && holds(target, readFileSync(file))) continue;
    const url = new URL(targetFileName(target, client.root.consistentSnapshot), folderUrl(targetsUrl));
    const bytes = await fetchBounded(url, target.length, options.signal);
    if (!bytes) throw new TufError('TUF_NOT_FOUND', `There is no ${url.href}.`, { section: '5.7.3', where: name });
    verifyTargetBytes(target, bytes);
    replaceFile(file, bytes);
  }
}

function holds(target: TargetFile, bytes: Uint8Array): boolean {
  try {
    verifyTargetBytes(target, bytes);
    return true;
  } catch (error) {
    if (error instanceof TufError) return false;
    throw error;
  }
}

/** TUF 1.0, section 5.7.3: `HASH.FILENAME.EXT` in the folder of the target. */
function targetFileName({ path, hashes }: TargetFile, consistentSnapshot: boolean): string {
  const hash = consistentSnapshot ? `${Object.values(hashes)[0] ?? ''}.` : '';
  const file = posix.join(posix.dirname(path), `${hash}${posix.basename(path)}`);
  return file.split('/').map(encodeURIComponent).join('/');
}

const folderUrl = (url: string) => new URL(url.endsWith('/') ? url : `${url}/`);
