/**
 * Whether a key belongs to a share of all keys: the same answer for the same key every time, and what belongs to a share belongs to every larger one. FNV-1a
 * (http://www.isthe.com/chongo/tech/comp/fnv/), through the finalizer of MurmurHash3, since keys may differ in their last character alone.
 *
 * @param salt another one divides the keys anew
 */
export function isInShare(key: string, salt: string, share: number): boolean {
  let hash = 0x811c9dc5;
  for (const text of [salt, key]) {
    for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0 < share * 2 ** 32;
}
