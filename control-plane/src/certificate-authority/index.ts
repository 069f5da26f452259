export { Authorities, type Authority } from './authorities.js';
export { AUTHORITY_CODES, AuthorityError } from './errors.js';
export { identify, issuedAtMs, type Identified, type IdentifiedDevice } from './identify.js';
export {
  operatorServerCredentials,
  ownServerCredentials,
  serverNames,
  type ServerCredentials,
} from './server-credentials.js';
export { authorityRoutes, type AuthorityRouteDependencies } from './routes.js';
