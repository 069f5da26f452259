import type { Delegation } from './delegated-role.js';
import { entryOf, type Targets } from './documents.js';
import { TufError } from './errors.js';
import { isDelegatedPath } from './path-pattern.js';
import type { TargetFile } from './target-file.js';

interface Visit {
  readonly name: string;
  readonly delegation: Delegation | undefined;
}

export interface SearchOptions {
  readonly targetPath: string;
  readonly targets: Targets;
  readonly maxDelegations: number;
  /** The role's metadata, verified against this delegation. It throws where that cannot be had, which ends the search (5.6.7). */
  readonly load: (delegation: Delegation) => Promise<Targets>;
}

/**
 * The pre-order depth-first search of TUF 1.0, section 5.6.7. Undefined where no role that is responsible for the path lists it.
 *
 * @throws TufError TUF_TOO_MANY_DELEGATIONS, and what `load` throws
 */
export async function searchTarget({ targetPath, targets, maxDelegations, load }: SearchOptions) {
  const visited = new Set<string>();
  // A stack, not recursion: a signed but hostile graph cannot exhaust it.
  const toVisit: Visit[] = [{ name: 'targets', delegation: undefined }];
  for (let next = toVisit.pop(); next !== undefined; next = toVisit.pop()) {
    const { name, delegation } = next;
    // 5.6.7.1: a role is visited once in a search, so cycles end.
    if (visited.has(name)) continue;
    if (visited.size > maxDelegations) {
      throw new TufError(
        'TUF_TOO_MANY_DELEGATIONS',
        `More than ${maxDelegations} roles are responsible for a target.`,
        {
          section: '5.6.7.1',
          where: targetPath,
        },
      );
    }
    visited.add(name);
    const role = delegation === undefined ? targets : await load(delegation);
    const entry = entryOf(role.targets, targetPath);
    if (entry !== undefined) return { ...entry, path: targetPath, role: name } satisfies TargetFile;

    const children: Visit[] = [];
    for (const child of role.delegations?.roles ?? []) {
      if (!isDelegatedPath(child, targetPath)) continue;
      const keys = role.delegations?.keys ?? {};
      children.push({ name: child.name, delegation: { role: child, keys, delegator: name } });
      if (child.terminating) {
        // 5.6.7.2.1: nobody but this role and its descendants may speak about the path any more.
        toVisit.length = 0;
        break;
      }
    }
    toVisit.push(...children.reverse());
  }
  return undefined;
}
