export { audit, type AuditEntry, type AuditRecord, type AuditVerdict } from './audit.js';
export { GOVERNANCE_CODES, GovernanceError } from './errors.js';
export { ROLES, roleIncludes, type Role } from './roles.js';
export { governanceRoutes } from './routes.js';
export { hashSecret, matchesHash, newSecret } from './secret.js';
export { tokens, type TokenHolder, type TokenSummary } from './tokens.js';
