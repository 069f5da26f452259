export { REPOSITORY_CODES, RepositoryError } from './errors.js';
export { repositoryState, type RepositoryState, type RoleState } from './expiry.js';
export { startKeeper } from './keeper.js';
export { metadataFiles } from './metadata-files.js';
export { repositoryMetrics } from './metrics.js';
export { openOnlineKeys, type OnlineKeys } from './online-keys.js';
export { releaseRepository, type PublishedRole, type ReleaseRepository } from './repository.js';
export { repositoryRoutes } from './routes.js';
export type { SentDocument } from './publication.js';
