/** viewer < publisher, viewer < operator, admin above all. Publishing and operating are kept apart on purpose. */
export const ROLES = ['viewer', 'publisher', 'operator', 'admin'] as const;
export type Role = (typeof ROLES)[number];

export function roleIncludes(held: Role, needed: Role): boolean {
  return held === 'admin' || held === needed || needed === 'viewer';
}
