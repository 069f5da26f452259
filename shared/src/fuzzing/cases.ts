import { seededRandom, type SeededRandom } from '../statistics/index.js';
import { mutateBytes, pick, randomBytes } from './mutate-bytes.js';
import { mutateJson } from './mutate-json.js';
import type { FuzzTarget } from './target.js';

/** Longer documents are cut: what is larger is refused by its length in any parser. */
const MAX_CASE_BYTES = 4 * 1024 * 1024;

/** The `index`-th document of a campaign; the same arguments always give the same bytes. */
export function caseOf(target: FuzzTarget, seed: number, index: number): Uint8Array {
  const random = seededRandom(seed).fork(`${target.name}/${index}`);
  const seeds = target.seeds();
  if (seeds.length === 0 || random.next() < 0.05) return randomBytes(random.nextInt(300), random);
  let bytes = pick(seeds, random);
  for (let changes = 1 + random.nextInt(3); changes > 0; changes -= 1) bytes = change(target, bytes, random, seeds);
  return bytes.subarray(0, MAX_CASE_BYTES);
}

function change(
  { format }: FuzzTarget,
  bytes: Uint8Array,
  random: SeededRandom,
  seeds: readonly Uint8Array[],
): Uint8Array {
  // A tree is printed again whole: documents that grew are changed as bytes from there on.
  const asTree = format === 'json' && bytes.length < 256 * 1024 && random.next() < 0.75;
  return (asTree ? mutateJson(bytes, random) : undefined) ?? mutateBytes(bytes, random, pick(seeds, random));
}
