import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { SeededRandom } from '@drover/shared/statistics';

const WAYS = ['truncated', 'emptied', 'zero-filled', 'partly zeroed', 'bit flipped', 'removed'] as const;

export interface Corruption {
  /** Relative to the data folder. */
  readonly file: string;
  readonly way: (typeof WAYS)[number];
}

/** What a device loses with these is another test's business: without its identity it is another device. */
const SPARED = /(?:^|\/)(?:device-key|identity)|\.db-shm$/;

/** Damages one file of a device as a broken sector, a careless copy or an interrupted repair would. undefined when there is nothing to damage. */
export function corruptSomething(dataDir: string, random: SeededRandom): Corruption | undefined {
  const files = readdirSync(dataDir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(dataDir, join(entry.parentPath, entry.name)))
    .filter((file) => !SPARED.test(file) && statSync(join(dataDir, file)).size > 0)
    .sort();
  // By kind first: there are many files of releases and one journal.
  const kinds = [...new Set(files.map(kindOf))].sort();
  const kind = kinds[random.nextInt(Math.max(1, kinds.length))];
  const candidates = files.filter((file) => kindOf(file) === kind);
  const file = candidates[random.nextInt(Math.max(1, candidates.length))];
  const way = WAYS[random.nextInt(WAYS.length)];
  if (file === undefined || way === undefined) return undefined;
  corrupt(join(dataDir, file), way, random);
  return { file, way };
}

/** Names of content are digests: `blobs/3f…` and `blobs/77…` are one kind. */
const kindOf = (file: string): string => file.replace(/[0-9a-f]{64}/g, '#').replace(/\.[0-9a-f]{12}\.tmp$/, '.tmp');

function corrupt(file: string, way: Corruption['way'], random: SeededRandom): void {
  const { size } = statSync(file);
  switch (way) {
    case 'truncated':
      truncateSync(file, random.nextInt(size));
      return;
    case 'emptied':
      truncateSync(file, 0);
      return;
    case 'removed':
      rmSync(file);
      return;
    case 'zero-filled':
      writeFileSync(file, Buffer.alloc(size));
      return;
    case 'partly zeroed': {
      const bytes = readFileSync(file);
      const from = random.nextInt(size);
      writeFileSync(file, bytes.fill(0, from, Math.min(size, from + 1 + random.nextInt(4096))));
      return;
    }
    case 'bit flipped': {
      const bytes = readFileSync(file);
      const at = random.nextInt(size);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.nextInt(8));
      writeFileSync(file, bytes);
      return;
    }
  }
}
