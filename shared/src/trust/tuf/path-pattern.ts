import { createHash } from 'node:crypto';
import type { DelegatedRole } from './documents.js';

/** Whether a delegation covers a target path (TUF 1.0, section 4.5: `paths` or `path_hash_prefixes`). One with neither covers nothing. */
export function isDelegatedPath(
  role: Pick<DelegatedRole, 'paths' | 'path_hash_prefixes'>,
  targetPath: string,
): boolean {
  if (role.paths) return role.paths.some((pattern) => matchesPathPattern(targetPath, pattern));
  if (!role.path_hash_prefixes) return false;
  const hash = createHash('sha256').update(targetPath).digest('hex');
  return role.path_hash_prefixes.some((prefix) => hash.startsWith(prefix));
}

/** Section 4.5, PATHPATTERN (docs/protocol.md, section 12, step 7): `*` and `?` are wildcards, neither matches `/`, everything else stands for itself. */
export function matchesPathPattern(path: string, pattern: string): boolean {
  const segments = path.split('/');
  const patterns = pattern.split('/');
  return segments.length === patterns.length && segments.every((text, at) => matchesSegment(text, patterns[at] ?? ''));
}

/** Goes back to the last `*` only, so that no pattern takes exponential time. */
function matchesSegment(text: string, pattern: string): boolean {
  const characters = [...text];
  const wanted = [...pattern];
  let at = 0;
  let next = 0;
  let star = -1;
  let resumeAt = 0;
  while (at < characters.length) {
    if (wanted[next] === '*') {
      star = next++;
      resumeAt = at;
    } else if (wanted[next] === '?' || (next < wanted.length && wanted[next] === characters[at])) {
      next++;
      at++;
    } else if (star >= 0) {
      next = star + 1;
      at = ++resumeAt;
    } else return false;
  }
  while (wanted[next] === '*') next++;
  return next === wanted.length;
}
