/**
 * viewer < publisher, viewer < operator, admin above all. Publishing and operating are kept apart on purpose. `mirror` is for a cache at a site: it reads
 * what devices read of releases (docs/protocol.md, section 13), and nothing else, not even what a viewer sees.
 */
export const ROLES = ['viewer', 'publisher', 'operator', 'mirror', 'admin'] as const;
export type Role = (typeof ROLES)[number];

export function roleIncludes(held: Role, needed: Role): boolean {
  return held === 'admin' || held === needed || (needed === 'viewer' && held !== 'mirror');
}
