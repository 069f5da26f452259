import type { FuzzTarget } from '../../src/fuzzing/index.js';
import { matchesPathPattern, parseMetadata, RepositoryClient } from '../../src/trust/tuf/index.js';
import { MemoryCache } from '../../src/trust/tuf/simulator/index.js';
import { NOW_MS, repositoryFiles, TARGET_PATH } from './release-repository.js';

const MAX_BYTES = 512 * 1024;
const pinnedRoot = repositoryFiles.get('1.root.json')?.bytes ?? new Uint8Array();

/** Each file of a repository, read alone and then as the answer of a server in the middle of a refresh. */
export const repositoryMetadata: readonly FuzzTarget[] = [
  ...[...repositoryFiles].slice(1).map(([file, { kind, bytes }]): FuzzTarget => ({
    name: `tuf-${file.replace(/^\d+\.|\.json$/g, '')}`,
    covers: ['parseMetadata'],
    format: 'json',
    seeds: () => [bytes],
    async parse(changed) {
      parseMetadata(kind, changed, { where: file, maxBytes: MAX_BYTES });
      const fetch = (name: string) => Promise.resolve(name === file ? changed : repositoryFiles.get(name)?.bytes);
      const options = { fetcher: { fetch }, nowMs: NOW_MS, signal: new AbortController().signal };
      const client = new RepositoryClient({ pinnedRoot, cache: new MemoryCache() });
      await client.refresh(options);
      return client.target(TARGET_PATH, options);
    },
  })),
  {
    name: 'tuf-pinned-root',
    covers: ['RepositoryClient'],
    format: 'json',
    seeds: () => [pinnedRoot],
    parse: (bytes) => new RepositoryClient({ pinnedRoot: bytes, cache: new MemoryCache() }),
  },
  {
    name: 'tuf-path-pattern',
    covers: ['matchesPathPattern'],
    format: 'bytes',
    seeds: () => [Buffer.from('gas/*.json\ngas/1.0.0.json'), Buffer.from('a*b?c*d\nabbcdd')],
    parse(bytes) {
      const [pattern = '', path = ''] = Buffer.from(bytes).toString('utf8').split('\n');
      return matchesPathPattern(path.slice(0, 1024), pattern.slice(0, 1024));
    },
  },
];
