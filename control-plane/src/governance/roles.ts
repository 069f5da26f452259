/**
 * viewer < publisher, viewer and labeller < operator, admin above all. Publishing and operating are kept apart on purpose. `mirror` is for a cache at a site:
 * it reads what devices read of releases (docs/protocol.md, section 13), and nothing else, not even what a viewer sees. Nor does a `labeller`, who reads what
 * devices would like labelled, and answers it.
 */
export const ROLES = ['viewer', 'publisher', 'operator', 'labeller', 'mirror', 'admin'] as const;
export type Role = (typeof ROLES)[number];

export function roleIncludes(held: Role, needed: Role): boolean {
  if (held === 'admin' || held === needed) return true;
  if (needed === 'labeller') return held === 'operator';
  return needed === 'viewer' && (held === 'publisher' || held === 'operator');
}
