export { Authorities, type Authority } from './authorities.js';
export { AUTHORITY_CODES, AuthorityError } from './errors.js';
export { accountCredentials, type AccountCredentials, type ClientCredentials } from './client-credentials.js';
export { identify, issuedAtMs, type Identified, type IdentifiedDevice } from './identify.js';
export {
  operatorServerCredentials,
  ownServerCredentials,
  serverNames,
  type ServerCredentials,
} from './server-credentials.js';
export { trustOf } from './revocation-list.js';
export { authorityRoutes, type AuthorityRouteDependencies } from './routes.js';
